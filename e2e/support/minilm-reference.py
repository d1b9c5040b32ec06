"""Writes minilm.json: vectors of all-MiniLM-L6-v2 by Python's onnxruntime, for e2e/specs/engine/minilm.spec.ts.

    pip install onnxruntime==1.32.0 tokenizers==0.22.2 numpy
    python minilm-reference.py GRAPH FOLDER

GRAPH is an export of the weights by optimum (optimum-cli export onnx --task feature-extraction), so that the graph that
models/minilm.ts writes is checked against another; FOLDER is the repository (npm run minilm)."""
import base64, json, sys
from pathlib import Path
import numpy as np, onnxruntime as ort
from tokenizers import Tokenizer

graph, folder = sys.argv[1], Path(sys.argv[2])
out = Path(__file__).with_name("minilm.json")
texts = json.loads(out.read_text())["texts"]
tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
tokenizer.enable_truncation(json.loads((folder / "sentence_bert_config.json").read_text())["max_seq_length"])
tokenizer.no_padding()
session = ort.InferenceSession(graph, providers=["CPUExecutionProvider"])
vectors = []
for text in texts:
    found = tokenizer.encode(text)
    ids, mask = np.array([found.ids]), np.array([found.attention_mask])
    feeds = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
    hidden = session.run(None, {x.name: feeds[x.name] for x in session.get_inputs()})[0].astype(np.float64)
    mean = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdims=True)
    vectors.append((mean / np.linalg.norm(mean)).astype("<f4")[0].tobytes())
told = {"onnxruntime": ort.__version__, "texts": texts, "vectors": [base64.b64encode(x).decode() for x in vectors]}
out.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n")
