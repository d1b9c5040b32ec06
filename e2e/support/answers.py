"""Exports small models with generated weights and the tokenizers or processors of their classes, and computes the answers of
Python's transformers to texts, pictures and sounds: python answers.py FOLDER. For e2e/specs/engine/architectures.spec.ts.
FOLDER/answers.json lists repository, what is asked, and the outputs and answers."""
import base64, json, shutil, sys
from pathlib import Path
import numpy as np, torch, transformers as T
from optimum.exporters.onnx import main_export
from PIL import Image
from tokenizers import ByteLevelBPETokenizer, BertWordPieceTokenizer

OUT = Path(sys.argv[1])
BASE = dict(hidden_size=64, num_hidden_layers=2, num_attention_heads=4, intermediate_size=128)
TEXTS = ["A man is eating food in Paris.", "  Le café est très bon à Orléans!! \U0001F600 ", "the quick brown fox " * 60, "x"]
PAIRS = [("What is free?", "Free is a matter of liberty; not price."), ("Who?", "the quick brown fox " * 60)]
RESNET = dict(embedding_size=16, hidden_sizes=[16, 32, 48, 64], depths=[1, 1, 1, 1], layer_type="basic", out_features=["stage4"])
TABLE = dict(use_timm_backbone=False, use_pretrained_backbone=False, backbone=None, d_model=64, encoder_layers=1, decoder_layers=2,
             encoder_ffn_dim=96, decoder_ffn_dim=96, encoder_attention_heads=4, decoder_attention_heads=4, num_queries=20)
SEGFORMER = dict(hidden_sizes=[16, 32, 48, 64], depths=[1, 1, 1, 1], num_attention_heads=[1, 2, 3, 4], decoder_hidden_size=32)
WAVES = dict(conv_dim=[32] * 7, num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=4, classifier_proj_size=32)


def classes(count):
    return dict(id2label={i: f"c{i}" for i in range(count)}, label2id={f"c{i}": i for i in range(count)})


def square(side):
    return dict(height=side, width=side)


def picture(width, height, seed):
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    rng = np.random.default_rng(seed)
    values = np.stack([128 + 100 * np.sin(x / 9 + seed + c) * np.cos(y / (7 + 3 * c)) for c in range(3)], -1)
    return Image.fromarray(np.clip(values + rng.normal(0, 6, values.shape), 0, 255).astype(np.uint8))


PICTURES = [picture(150, 110, 0), picture(97, 161, 1)]
SOUND = (0.4 * np.sin(np.arange(12000) / 9) + 0.02 * np.random.default_rng(2).standard_normal(12000)).astype(np.float32)


def shake(model):
    """Weights of a size at which answers differ."""
    rng = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, x in model.named_parameters():
            if x.dim() < 2: continue
            fan = x.shape[1] if "embed" in name and x.dim() == 2 else x[0].numel()
            x.copy_(torch.randn(x.shape, generator=rng) / fan ** 0.5)
            if "class_labels_classifier" in name: x.mul_(6)
    return model.eval()


def words(folder):
    """Files of a word-piece and of a byte-level vocabulary."""
    lines = [x for text in TEXTS for x in [text] * 3]
    pieces = BertWordPieceTokenizer()
    pieces.train_from_iterator(lines, vocab_size=400, min_frequency=1)
    pieces.save_model(str(folder))
    shutil.move(folder / "vocab.txt", folder / "pieces.txt")
    units = ByteLevelBPETokenizer()
    units.train_from_iterator(lines, vocab_size=400, min_frequency=1, special_tokens=["[CLS]", "[PAD]", "[SEP]", "[UNK]", "[MASK]"])
    units.save_model(str(folder))
    return dict(pieces=str(folder / "pieces.txt"), units=dict(vocab_file=str(folder / "vocab.json"), merges_file=str(folder / "merges.txt")))


def data(array, dtype):
    return base64.b64encode(np.ascontiguousarray(array).astype(dtype).tobytes()).decode()


def outputs(result, names):
    return {x: dict(dims=list(result[x].shape), data=data(result[x].numpy(), np.float32)) for x in names}


def texts(name, tokenizer, model, task, names, rows):
    tokens = tokenizer(*([list(x) for x in zip(*rows)] if isinstance(rows[0], tuple) else [rows]), padding=True, truncation=True, return_tensors="pt")
    asked = [dict(text=x[0], pair=x[1]) if isinstance(x, tuple) else x for x in rows]
    result = model(**tokens)
    labels = [model.config.id2label[int(x)] for x in result["logits"].argmax(-1)] if "logits" in names else None
    yield dict(name=name, input="input_ids", texts=asked, outputs=outputs(result, names), labels=labels)


def pictures(name, processor, model, task, names, kind):
    for image in PICTURES:
        result = model(**{k: v for k, v in processor(images=image, return_tensors="pt").items() if k == "pixel_values"})
        sizes = [(image.height, image.width)]
        case = dict(name=name, input="pixel_values", picture=dict(width=image.width, height=image.height, data=data(np.asarray(image.convert("RGBA")), np.uint8)), outputs=outputs(result, names))
        if kind == "labels": case["labels"] = [model.config.id2label[int(result.logits.argmax())]]
        if kind == "boxes":
            found = processor.post_process_object_detection(result, threshold=0.5, target_sizes=sizes)[0]
            case["boxes"] = [[model.config.id2label[int(l)], *map(float, b)] for l, b in zip(found["labels"], found["boxes"])]
        if kind == "mask": case["mask"] = data(processor.post_process_semantic_segmentation(result, target_sizes=sizes)[0].numpy(), np.uint8)
        yield case


def sounds(name, processor, model, task, names, _):
    result = model(**processor(SOUND, sampling_rate=16000, return_tensors="pt"))
    yield dict(name=name, input="input_values", sound=data(SOUND, np.float32), outputs=outputs(result, names), labels=[model.config.id2label[int(result.logits.argmax())]])


def rows(files):
    """Name: how it is asked, its tokenizer or processor, model, task of the exporter, outputs, texts or kind of answer."""
    electra = T.ElectraTokenizerFast(vocab_file=files["pieces"], model_max_length=64)
    deberta = T.DebertaTokenizerFast(**files["units"], model_max_length=96)
    qwen = T.Qwen2TokenizerFast(**files["units"], model_max_length=96, unk_token="[UNK]", pad_token="[PAD]", eos_token="[SEP]")
    count = 600
    return {
        "electra": (texts, electra, T.ElectraForSequenceClassification(T.ElectraConfig(vocab_size=count, embedding_size=32, max_position_embeddings=64, **BASE, **classes(3))), "text-classification", ["logits"], TEXTS),
        "deberta": (texts, deberta, T.DebertaForSequenceClassification(T.DebertaConfig(vocab_size=count, max_position_embeddings=128, relative_attention=True, pos_att_type=["p2c", "c2p"], type_vocab_size=0, pad_token_id=1, **BASE, **classes(3))), "text-classification", ["logits"], PAIRS),
        "qwen": (texts, qwen, T.Qwen2Model(T.Qwen2Config(vocab_size=count, num_key_value_heads=2, max_position_embeddings=128, pad_token_id=1, **BASE)), "feature-extraction", ["last_hidden_state"], TEXTS[:1]),
        "swin": (pictures, T.ViTImageProcessor(size=square(64), resample=3), T.SwinForImageClassification(T.SwinConfig(image_size=64, embed_dim=24, depths=[1, 1], num_heads=[2, 4], window_size=4, **classes(5))), "image-classification", ["logits"], "labels"),
        "vit-torchvision": (pictures, T.ViTImageProcessorFast(size=square(64)), T.ViTForImageClassification(T.ViTConfig(image_size=64, **BASE, **classes(5))), "image-classification", ["logits"], "labels"),
        "table-transformer": (pictures, T.DetrImageProcessor(size=dict(shortest_edge=96, longest_edge=128)), T.TableTransformerForObjectDetection(T.TableTransformerConfig(backbone_config=T.ResNetConfig(**RESNET), **TABLE, **classes(3))), "object-detection", ["logits", "pred_boxes"], "boxes"),
        "segformer-answers": (pictures, T.SegformerImageProcessor(size=square(64)), T.SegformerForSemanticSegmentation(T.SegformerConfig(**SEGFORMER, **classes(6))), "image-segmentation", ["logits"], "mask"),
        "wavlm": (sounds, T.Wav2Vec2FeatureExtractor(feature_size=1, do_normalize=True), T.WavLMForSequenceClassification(T.WavLMConfig(**BASE, **WAVES, **classes(4))), "audio-classification", ["logits"], None),
    }


def main():
    scratch = OUT / ".words"
    scratch.mkdir(parents=True, exist_ok=True)
    cases = []
    torch.manual_seed(11)
    for name, (ask, processor, model, task, names, rest) in rows(words(scratch)).items():
        source, folder = OUT / ".source" / name, OUT / name
        for x in (source, folder): shutil.rmtree(x, ignore_errors=True); x.mkdir(parents=True)
        shake(model).save_pretrained(source)
        processor.save_pretrained(source)
        main_export(str(source), output=str(folder), task=task, library_name="transformers", do_validation=False)
        with torch.no_grad(): cases += list(ask(name, processor, model, task, names, rest))
        print(name, flush=True)
    (OUT / "answers.json").write_text(json.dumps(cases))


main()
