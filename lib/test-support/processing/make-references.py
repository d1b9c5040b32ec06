"""Writes references.json: what Python's transformers, torchvision and Pillow compute for the inputs that references.ts
describes. Inputs are formulas, so that both sides make them.

    pip install transformers==4.57.6 torch==2.13.0 torchvision==0.28.0 pillow==13.0.0 timm==1.0.31 numpy
    python lib/test-support/processing/make-references.py

A change of its numbers is a change of a library's, to be looked at.
"""

import json
import os
import tempfile
from types import SimpleNamespace

import numpy as np
import torch
import transformers
from PIL import Image
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast
from transformers.pipelines.text_classification import TextClassificationPipeline
from transformers.pipelines.token_classification import AggregationStrategy, TokenClassificationPipeline

HERE = os.path.dirname(os.path.abspath(__file__))
SAMPLES = 120


def picture(width, height):
    """A noisy half and a half of blocks, as references.ts makes it."""
    x, y, c = np.meshgrid(np.arange(width), np.arange(height), np.arange(3), indexing="xy")
    noise = (x * x * 7 + y * 13 + x * y * 5 + c * 67) % 251
    blocks = (((x >> 3) + (y >> 2) + c) * 53) % 256
    return np.where(x * 2 < width, noise, blocks).astype(np.uint8)


def numbers(count, seed=0):
    """Numbers of -4 to 4, as references.ts makes them."""
    i = np.arange(count, dtype=np.int64) + seed * 31337
    return (((i * i * 48271 + i * 7919 + 104729) % 65537) / 65537 * 8 - 4).astype(np.float32)


def sampled(array):
    flat = np.asarray(array, dtype=np.float64).reshape(-1)
    step = max(1, len(flat) // SAMPLES)
    return {"dims": list(np.shape(array)), "step": step, "values": [round(float(x), 5) for x in flat[::step]]}


IMAGES = [
    ("ViT", {}, [(300, 200)]),
    ("ViT", {"resample": 3, "size": {"height": 30, "width": 40}}, [(50, 70), (21, 13)]),
    ("ViT", {"resample": 0, "size": {"height": 37, "width": 23}}, [(100, 64), (11, 7)]),
    ("ViT", {"resample": 1, "size": {"height": 37, "width": 23}}, [(100, 64), (11, 7)]),
    ("ViT", {"resample": 2, "size": {"height": 37, "width": 23}}, [(100, 64), (11, 7)]),
    ("ViT", {"do_resize": False, "do_rescale": False, "do_normalize": False}, [(12, 9)]),
    ("CLIP", {}, [(300, 200), (97, 131)]),
    ("CLIP", {"size": {"shortest_edge": 20}, "crop_size": {"height": 31, "width": 26}}, [(40, 60), (33, 29)]),
    ("Bit", {"size": {"shortest_edge": 256}}, [(260, 300)]),
    ("DeiT", {}, [(280, 190)]),
    ("Beit", {}, [(280, 190)]),
    ("Blip", {"size": {"height": 96, "width": 96}}, [(120, 101)]),
    ("Siglip", {}, [(120, 301)]),
    ("ConvNext", {"size": {"shortest_edge": 96}}, [(200, 133)]),
    ("ConvNext", {}, [(200, 133)]),
    ("PoolFormer", {"size": {"shortest_edge": 96}, "crop_size": {"height": 96, "width": 96}}, [(200, 133)]),
    ("Levit", {"size": {"shortest_edge": 96}, "crop_size": {"height": 96, "width": 96}}, [(200, 133)]),
    ("MobileNetV2", {}, [(301, 222)]),
    ("MobileViT", {}, [(301, 222)]),
    ("EfficientNet", {"size": {"height": 80, "width": 80}}, [(120, 90)]),
    ("EfficientNet", {"size": {"height": 80, "width": 80}, "rescale_offset": True, "include_top": False}, [(120, 90)]),
    ("EfficientNet", {"size": {"height": 40, "width": 40}, "do_normalize": False}, [(120, 90)]),
    ("Segformer", {"size": {"height": 128, "width": 128}}, [(200, 150)]),
    ("DPT", {"keep_aspect_ratio": True, "ensure_multiple_of": 14, "size": {"height": 98, "width": 98}}, [(200, 150), (77, 301)]),
    ("DPT", {"ensure_multiple_of": 14, "size": {"height": 75, "width": 61}}, [(90, 120)]),
    ("GLPN", {}, [(101, 75)]),
    ("Detr", {"size": {"shortest_edge": 80, "longest_edge": 133}}, [(200, 150), (400, 101), (80, 90)]),
    ("Yolos", {"size": {"shortest_edge": 80, "longest_edge": 133}}, [(200, 150), (101, 400)]),
    ("RTDetr", {"size": {"height": 64, "width": 64}}, [(200, 150)]),
    ("OwlViT", {"size": {"height": 76, "width": 76}, "do_normalize": True}, [(90, 120)]),
    ("Sam", {"size": {"longest_edge": 64}, "pad_size": {"height": 64, "width": 64}}, [(90, 120)]),
    ("SuperPoint", {"size": {"height": 48, "width": 64}}, [(90, 120)]),
    ("Pvt", {}, [(90, 120)]),
    ("Flava", {}, [(90, 120)]),
    ("Segformer", {"size": {"height": 64, "width": 64}, "do_reduce_labels": True}, [(31, 33)]),
]


def images():
    for name, options, sizes in IMAGES:
        for ending in ("ImageProcessor", "ImageProcessorFast"):
            cls = getattr(transformers, name + ending, None)
            if cls is None or (ending.endswith("Fast") and options.get("resample") == 1):
                continue
            processor = cls(**options)
            saved = json.loads(processor.to_json_string())
            config = {k: v for k, v in saved.items() if v is not None and not k.startswith("_") and k != "processor_class"}
            config["image_processor_type"] = name + ending
            for width, height in sizes:
                image = Image.fromarray(picture(width, height))
                pixels = processor(image, return_tensors="np" if ending == "ImageProcessor" else "pt")["pixel_values"]
                yield {"config": config, "width": width, "height": height, **sampled(np.asarray(pixels))}


def evaluations():
    """Settings of timm, which config.json holds."""
    for options in ({}, {"crop_pct": 0.95, "interpolation": "bilinear"}, {"crop_mode": "squash", "input_size": [3, 70, 90]}):
        config = {"input_size": [3, 96, 96], "mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.4], **options}
        image = Image.fromarray(picture(131, 200))
        pixels = transformers.TimmWrapperImageProcessor(config)(image)["pixel_values"]
        yield {"config": {"pretrained_cfg": config}, "width": 131, "height": 200, **sampled(np.asarray(pixels))}


def classification():
    for problem, classes in (("single_label_classification", 5), ("multi_label_classification", 5), (None, 7)):
        logits = numbers(classes, classes)
        config = SimpleNamespace(problem_type=problem, num_labels=classes, id2label={i: f"class {i}" for i in range(classes)})
        self = SimpleNamespace(model=SimpleNamespace(config=config), framework="pt")
        result = TextClassificationPipeline.postprocess(self, {"logits": torch.tensor(logits)[None]}, top_k=3, _legacy=False)
        yield {"problem": problem, "classes": classes, "labels": result}


TEXTS = [
    "My name is Sarah Connor and I live in München, near the Café Éclair.",
    "Hugging Face Inc. is based in New York City (U.S.A.)!",
    "  two  spaces, a tab\tand a line\nbreak; naïve coöperation costs 3.50 €",
    "東京 is Tokyo, \u041c\u043e\u0441\u043a\u0432\u0430 is Moscow",
    "an emoji \U0001f600 and a rare \u2603 sign",
    "ﬁne ligature, ½ and ＡＢＣ",
    "O'Neill's e-mail: x@y.org",
    "   Bern,\n\nRome  (and  \U0001f600 Paris) ",
    "Paris",
]
LABELS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC", "MISC"]


def tokenizers_of():
    corpus = TEXTS[:3] * 20 + ["the name of a city in the state", "live near based spaces sign mail"] * 10
    word = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    word.normalizer = normalizers.BertNormalizer(lowercase=True)
    word.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    word.decoder = decoders.WordPiece()
    word.train_from_iterator(corpus, trainers.WordPieceTrainer(vocab_size=220, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]"]))
    word.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    yield "wordpiece", word, "[UNK]"
    bytes_ = Tokenizer(models.BPE())
    bytes_.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bytes_.decoder = decoders.ByteLevel()
    bytes_.train_from_iterator(
        corpus,
        trainers.BpeTrainer(vocab_size=330, special_tokens=["<s>", "</s>", "<unk>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet()),
    )
    bytes_.post_processor = processors.RobertaProcessing(("</s>", 1), ("<s>", 0), trim_offsets=True, add_prefix_space=False)
    yield "bytes", bytes_, "<unk>"
    unigram = Tokenizer(models.Unigram())
    unigram.normalizer = normalizers.NFKC()
    unigram.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    unigram.decoder = decoders.Metaspace()
    unigram.train_from_iterator(corpus, trainers.UnigramTrainer(vocab_size=160, special_tokens=["<s>", "</s>", "<unk>"], unk_token="<unk>"))
    unigram.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 1)]
    )
    yield "unigram", unigram, "<unk>"
    # XLM-R's way with white space, DeBERTa's and Llama's.
    marks = [
        ([normalizers.NFKC(), normalizers.Strip(left=False), normalizers.Replace(Regex(" {2,}"), "\u2581")], "always"),
        ([normalizers.Strip(), normalizers.Replace("''", '"')], "always"),
        ([normalizers.NFD()], "first"),
    ]
    for name, (steps, scheme) in zip(("collapsed", "stripped", "plain"), marks):
        spaces = Tokenizer(models.Unigram())
        spaces.normalizer = normalizers.Sequence(steps)
        spaces.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme)
        spaces.decoder = decoders.Metaspace()
        spaces.train_from_iterator(corpus, trainers.UnigramTrainer(vocab_size=120, special_tokens=["<unk>"], unk_token="<unk>"))
        yield "metaspace, " + name, spaces, "<unk>"
    prefixed = Tokenizer.from_str(bytes_.to_str())
    prefixed.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    prefixed.post_processor = processors.RobertaProcessing(("</s>", 1), ("<s>", 0), trim_offsets=True, add_prefix_space=True)
    yield "bytes, space before", prefixed, "<unk>"
    untrimmed = Tokenizer.from_str(bytes_.to_str())
    untrimmed.normalizer = normalizers.NFC()
    untrimmed.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)])
    yield "bytes, untrimmed", untrimmed, "<unk>"


def tokens():
    for name, tokenizer, unknown in tokenizers_of():
        # Without this option the class takes the tokenizer's own space away.
        spaced = json.loads(tokenizer.to_str())["pre_tokenizer"].get("add_prefix_space", False)
        fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token=unknown, add_prefix_space=spaced)
        pipeline = TokenClassificationPipeline.__new__(TokenClassificationPipeline)
        pipeline.tokenizer = fast
        pipeline.framework = "pt"
        pipeline.model = SimpleNamespace(config=SimpleNamespace(id2label=dict(enumerate(LABELS))))
        rows = []
        for at, text in enumerate(TEXTS):
            encoded = fast(text, return_offsets_mapping=True, return_special_tokens_mask=True)
            count = len(encoded["input_ids"])
            logits = numbers(count * len(LABELS), at + 1).reshape(count, len(LABELS))
            found = {}
            for how in ("none", "simple", "first", "average", "max"):
                entities = pipeline.postprocess(
                    [
                        {
                            "logits": torch.tensor(logits)[None],
                            "sentence": text,
                            "input_ids": torch.tensor([encoded["input_ids"]]),
                            "offset_mapping": torch.tensor([encoded["offset_mapping"]]),
                            "special_tokens_mask": torch.tensor([encoded["special_tokens_mask"]]),
                        }
                    ],
                    AggregationStrategy(how),
                    ["O"],
                )
                found[how] = [
                    [e.get("entity", e.get("entity_group")), round(float(e["score"]), 5), e["word"], int(e["start"]), int(e["end"])]
                    for e in entities
                ]
            rows.append({"text": text, "seed": at + 1, "ids": encoded["input_ids"], "entities": found})
        yield {"name": name, "tokenizer": json.loads(tokenizer.to_str()), "labels": LABELS, "rows": rows}


def boxes():
    size = [(150, 200)]
    for name, queries, classes in (("Detr", 12, 6), ("Yolos", 12, 6), ("RTDetr", 12, 5), ("ConditionalDetr", 12, 5)):
        processor = getattr(transformers, name + "ImageProcessor")()
        logits = torch.tensor(numbers(queries * classes, 3)).reshape(1, queries, classes)
        places = torch.tensor((numbers(queries * 4, 4) + 4) / 10).reshape(1, queries, 4)
        found = processor.post_process_object_detection(SimpleNamespace(logits=logits, pred_boxes=places), 0.4, size)[0]
        rows = sorted(zip(found["scores"].tolist(), found["labels"].tolist(), found["boxes"].tolist()), reverse=True)
        yield {
            "name": name, "queries": queries, "classes": classes,
            "boxes": [[round(s, 5), l, [round(x, 3) for x in b]] for s, l, b in rows],
        }


def anchors():
    from torchvision.ops import batched_nms

    count, classes = 60, 3
    places = (numbers(count * 4, 5) + 4).reshape(count, 4) * np.array([60, 40, 20, 20], dtype=np.float32)
    scores = ((numbers(count * classes, 6) + 4) / 8).reshape(count, classes)
    best, label = torch.tensor(scores).max(1)
    keep = best > 0.3
    cx, cy, w, h = torch.tensor(places).unbind(1)
    corners = torch.stack([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2], 1)[keep]
    kept = batched_nms(corners, best[keep], label[keep], 0.3)
    yield {
        "count": count, "classes": classes,
        "boxes": [
            [round(float(best[keep][i]), 5), int(label[keep][i]), [round(float(x), 3) for x in corners[i]]] for i in kept
        ],
    }


def maps():
    logits = torch.tensor(numbers(4 * 6 * 5, 7)).reshape(1, 4, 6, 5)
    result = transformers.SegformerImageProcessor().post_process_semantic_segmentation(SimpleNamespace(logits=logits), [(17, 13)])[0]
    depth = torch.tensor(numbers(6 * 5, 8)).reshape(1, 6, 5)
    found = transformers.DPTImageProcessor().post_process_depth_estimation(SimpleNamespace(predicted_depth=depth), [(17, 13)])[0]
    mask = torch.nn.functional.interpolate(depth[None], size=(17, 13), mode="bilinear", align_corners=False)
    return {
        "segment": result.reshape(-1).tolist(),
        "depth": [round(x, 5) for x in found["predicted_depth"].reshape(-1).tolist()],
        "mask": [round(x, 5) for x in torch.sigmoid(mask).reshape(-1).tolist()],
    }


def sound(count):
    t = np.arange(count) / 16000
    return (0.5 * np.sin(2 * np.pi * 440 * t) + 0.3 * np.sin(2 * np.pi * 3000 * t * t) + 0.01 * numbers(count)).astype(np.float32)


def speech():
    for bands, seconds in ((80, 30), (128, 30), (80, 5)):
        extractor = transformers.WhisperFeatureExtractor(feature_size=bands, chunk_length=seconds)
        found = extractor(sound(16000 * 2 + 123), sampling_rate=16000, return_tensors="np")["input_features"]
        yield {"bands": bands, "seconds": seconds, "samples": 16000 * 2 + 123, **sampled(found[:, :, : min(found.shape[2], 260)])}


SOUNDS = [
    ("Wav2Vec2", {}, 8123),
    ("Wav2Vec2", {"do_normalize": False}, 700),
    ("AST", {}, 16000 * 3 + 77),
    ("AST", {"num_mel_bins": 64, "max_length": 60, "mean": -3.5, "std": 2.25}, 16000),
    ("AST", {"do_normalize": False, "max_length": 40}, 5000),
]


def sounds():
    for name, settings, count in SOUNDS:
        extractor = getattr(transformers, f"{name}FeatureExtractor")(**settings)
        found = extractor(sound(count), sampling_rate=16000, return_tensors="np")["input_values"]
        config = {"feature_extractor_type": f"{name}FeatureExtractor", "sampling_rate": 16000, **settings}
        yield {"config": config, "samples": count, **sampled(found)}


VOCABULARY = {"<pad>": 0, "<s>": 1, "</s>": 2, "<unk>": 3, "|": 4, "E": 5, "T": 6, "'": 7, "a": 8}
CTC = [
    (VOCABULARY, {}),
    (VOCABULARY, {"do_lower_case": True}),
    ({"A": 0, "B": 1, "c": 2, " ": 3, "[UNK]": 4, "[PAD]": 5}, {"pad_token": "[PAD]", "unk_token": "[UNK]", "word_delimiter_token": " "}),
    ({"x": 0, "yz": 1, "_": 2, "-": 3}, {"pad_token": "-", "word_delimiter_token": "_", "unk_token": "x", "bos_token": None, "eos_token": None}),
]


def ctc():
    """Greedy texts of rows that come twice each."""
    for seed, (vocabulary, settings) in enumerate(CTC):
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump(vocabulary, file)
            file.flush()
            tokenizer = transformers.Wav2Vec2CTCTokenizer(file.name, **settings)
        classes = len(tokenizer)
        ids = np.repeat(np.argmax(numbers(30 * classes, seed).reshape(30, classes), axis=1), 2).tolist()
        added = {str(id): {"content": x.content} for id, x in tokenizer.added_tokens_decoder.items()}
        told = {"tokenizer_class": "Wav2Vec2CTCTokenizer", **settings, "added_tokens_decoder": added}
        yield {"vocabulary": vocabulary, "tokenizer": told, "seed": seed, "steps": 60, "classes": classes, "text": tokenizer.decode(ids)}


def write(name, value):
    with open(os.path.join(HERE, name), "w") as file:
        json.dump(value, file, ensure_ascii=False, separators=(",", ":"))
        file.write("\n")


if __name__ == "__main__":
    write("images.json", [*images(), *evaluations()])
    write("tasks.json", {
        "classification": list(classification()),
        "boxes": list(boxes()),
        "anchors": list(anchors()),
        "maps": maps(),
        "speech": list(speech()),
    })
    write("sounds.json", {"sounds": list(sounds()), "ctc": list(ctc())})
    write("tokens.json", list(tokens()))
