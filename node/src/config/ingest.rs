//! Where documentation and its vectors come from.

use std::path::PathBuf;

use twinmcp_actors::ingest::source::ARCHIVE_BYTES_MAX;

use super::source::Source;

section! {
    /// An embedding service beside what is built in; any that speaks OpenAI's `/embeddings`.
    EmbeddingsConfig = "embeddings" {
        /// Where it is, without `/embeddings`, e.g. `https://api.example.com/v1`; empty for none.
        url: String = String::new(),
        /// The model that is asked for.
        model: String = String::new(),
        /// Numbers in a vector of that model.
        dimensions: usize = 0,
        /// File with the key; empty for none.
        key_file: PathBuf = PathBuf::new(),
        /// Variable with the key, e.g. `OPENAI_API_KEY`; empty for none.
        key_variable: String = String::new(),
        /// Texts in one request.
        items_max: usize = 64,
        /// Tokens of all texts in one request; a single text may have more.
        tokens_max: usize = 16_000,
        /// Requests for one batch of documents, the first included.
        attempts_max: u32 = 5,
        /// Time one request for documents may take, in milliseconds.
        timeout_ms: u64 = 30_000,
        /// Time a question waits for its vector, in milliseconds; then words and built-in vectors answer.
        query_timeout_ms: u64 = 400,
        /// What the service's vectors count beside words, 0 to 1.
        weight: f32 = 0.6,
    }
}

section! {
    /// Index jobs and what is sent to them.
    IngestConfig = "ingest" {
        /// Jobs that run at once; the others wait.
        jobs_running_max: usize = 1,
        /// Largest archive that may be sent, in bytes.
        upload_bytes_max: u64 = ARCHIVE_BYTES_MAX,
        /// Folders on this machine that jobs may read, with everything below them; none allows no folder.
        folders: Vec<PathBuf> = Vec::new(),
        /// Silence of a node after which another takes its jobs over, in milliseconds.
        lease_ms: u64 = 30_000,
        /// Time for which a job waits for nodes that alone may have its archive or folder, in milliseconds; then it fails.
        lost_after_ms: u64 = 3_600_000,
        /// Folder of a sentence transformer, all-MiniLM-L6-v2, that gives published documentation better vectors in
        /// the background; empty for none.
        upgrade_model: PathBuf = PathBuf::new(),
        /// Share of one core that upgrades may use, in percent.
        upgrade_cpu_percent: u8 = 50,
        /// Vectors of upgrades remembered on disk, in bytes.
        upgrade_cache_bytes: u64 = 128 * 1024 * 1024,
    }
}

section! {
    /// Requests to other hosts, made for the node's users.
    OutboundConfig = "outbound" {
        /// Host names that may lead to addresses that are not public.
        allowed_hosts: Vec<String> = Vec::new(),
        /// Networks that are not public and may be asked, e.g. `10.20.0.0/16`.
        allowed_networks: Vec<String> = Vec::new(),
        /// Whether http may be used besides https.
        allow_http: bool = true,
        /// Where sites can reach the people who run this node; told with each request.
        contact_url: String = String::new(),
        /// Time to find an address and connect, in milliseconds.
        connect_timeout_ms: u64 = 10_000,
        /// Time one request may take, in milliseconds.
        request_timeout_ms: u64 = 60_000,
        /// Longest pause within an answer, in milliseconds.
        idle_timeout_ms: u64 = 15_000,
        /// Largest answer in bytes, unpacked.
        body_bytes_max: u64 = 16 * 1024 * 1024,
        /// Redirects that one request follows.
        redirects_max: usize = 5,
    }
}

section! {
    /// Web sites and git repositories that are indexed.
    FetchConfig = "fetch" {
        /// Pages of one web site.
        pages_max: usize = 5_000,
        /// Bytes of all pages of one web site.
        bytes_max: u64 = 1024 * 1024 * 1024,
        /// Links from the first page of a web site to its last.
        depth_max: usize = 20,
        /// Time after which no further page of a web site is begun, in milliseconds.
        timeout_ms: u64 = 3_600_000,
        /// Requests a second to one host.
        requests_per_second: f64 = 5.0,
        /// Requests to one host at once.
        in_flight_max: usize = 2,
        /// Bytes of the pages kept for the next visit.
        cache_bytes_max: u64 = 1024 * 1024 * 1024,
        /// Bytes that a git repository may send, and its files may have together.
        git_bytes_max: u64 = 1024 * 1024 * 1024,
        /// Time to fetch a git repository, in milliseconds.
        git_timeout_ms: u64 = 600_000,
    }
}
