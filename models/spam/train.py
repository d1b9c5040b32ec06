"""Trains the spam classifier on a split that prepare.ts wrote, and writes its weights.

    apt-get install python3-torch libopenblas0-pthread
    npx tsx models/spam/prepare.ts thread-1 spam-data
    python3 models/spam/train.py spam-data models/spam/weights.npz
    cp spam-data/tokenizer.json models/spam/

The classifier is wide and deep (Cheng and others 2016), since on five thousand mails a linear model over token counts is
hard to beat, and the two parts make different errors:

- the wide part, a linear model fitted by prepare.ts, whose weights are used unchanged;
- the deep part, a transformer: an embedding of each token, a convolution over three tokens, two layers of attention
  without positions (the convolution supplies local order), and a linear layer over the mean and the maximum of each
  feature, before the layers and after them. It learns from the labels and, in part, from the wide part's log odds of
  each mail that was held out from that part.

The deep part is trained on four fifths of the training threads. The last fifth, which the wide part's score did not
see either, selects the epoch, the share of each part (a tenth at least) and the temperature of the sum. Held-out mails
are used nowhere. It takes two minutes on one core.

A third of the collection is spam, which is more than in a mailbox, and a false alarm costs more than a missed spam. So
the log odds are shifted to a prior of one spam in four mails (Saerens and others 2002).
"""
import argparse
import json
import math
import time

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

WIDTH, HIDDEN, HEADS, LAYERS = 64, 128, 4, 2
TRAIN_LENGTH, LENGTH = 128, 512
FAR = -1e4
PRIOR = 0.25


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.query, self.key, self.value, self.out = (nn.Linear(WIDTH, WIDTH) for _ in range(4))
        self.up, self.down = nn.Linear(WIDTH, HIDDEN), nn.Linear(HIDDEN, WIDTH)

    def forward(self, x, far, drop):
        size = x.shape[:2] + (HEADS, WIDTH // HEADS)
        y = self.norm1(x)
        q, k, v = (f(y).view(size).transpose(1, 2) for f in (self.query, self.key, self.value))
        weight = torch.softmax(q @ k.transpose(2, 3) / math.sqrt(WIDTH // HEADS) + far, -1)
        x = x + drop(self.out((weight @ v).transpose(1, 2).flatten(2)))
        return x + drop(self.down(F.relu(self.up(self.norm2(x)))))


class Classifier(nn.Module):
    def __init__(self, pieces, drop):
        super().__init__()
        self.embed = nn.Embedding(pieces, WIDTH)
        nn.init.normal_(self.embed.weight, std=0.3)
        self.conv = nn.Conv1d(WIDTH, WIDTH, 3, padding=1)
        self.layers = nn.ModuleList(Layer() for _ in range(LAYERS))
        self.norm = nn.LayerNorm(WIDTH)
        self.last = nn.Linear(4 * WIDTH, 2)
        self.drop = nn.Dropout(drop)

    def forward(self, ids, mask):
        m = mask.unsqueeze(2)
        x = self.drop(self.embed(ids) * m)
        x = x + F.relu(self.conv(x.transpose(1, 2)).transpose(1, 2))
        far = ((1 - mask) * FAR)[:, None, None, :]
        pooled = pool(x, m)
        for layer in self.layers:
            x = layer(x, far, self.drop)
        pooled += pool(self.norm(x), m)
        return self.last(self.drop(torch.cat(pooled, 1)))


def pool(x, m):
    return [(x * m).sum(1) / m.sum(1), (x + (1 - m) * FAR).amax(1)]


def batches(mails, size, length, shuffle):
    """Yields batches of mails of similar length; in training a long mail is cropped at its start or at random."""
    order = np.random.permutation(len(mails)) if shuffle else np.arange(len(mails))
    if shuffle:
        chunks = [sorted(order[i : i + size * 16], key=lambda j: len(mails[j]["ids"])) for i in range(0, len(order), size * 16)]
        rows = [chunk[i : i + size] for chunk in chunks for i in range(0, len(chunk), size)]
        rows = [rows[i] for i in np.random.permutation(len(rows))]
    else:
        order = sorted(order, key=lambda j: len(mails[j]["ids"]))
        rows = [order[i : i + size] for i in range(0, len(order), size)]
    for row in rows:
        texts = []
        for j in row:
            ids = mails[j]["ids"]
            start = np.random.randint(len(ids) - length) if shuffle and len(ids) > length and np.random.rand() < 0.4 else 0
            texts.append(ids[start : start + length])
        longest = max(map(len, texts))
        ids = torch.tensor([x + [0] * (longest - len(x)) for x in texts])
        mask = torch.tensor([[1.0] * len(x) + [0.0] * (longest - len(x)) for x in texts])
        yield row, ids, mask


def scores(model, mails, length=LENGTH):
    model.eval()
    out = np.zeros((len(mails), 2), np.float32)
    with torch.no_grad():
        for row, ids, mask in batches(mails, 32, length, False):
            out[row] = model(ids, mask).numpy()
    return out


def report(name, odds, mails):
    spam = np.array([x["spam"] for x in mails])
    right = (odds > 0) == spam
    print(
        f"{name}: {100 * right.mean():.2f} % right, false alarms {((odds > 0) & (spam == 0)).sum()} of {(spam == 0).sum()}, "
        f"loss {loss_of(odds, spam):.4f}",
        flush=True,
    )


def loss_of(odds, spam):
    return np.mean(np.logaddexp(0, np.where(spam, -odds, odds)))


def mix(deep, mails):
    """Returns the factors of the deep and the wide part's log odds with minimal loss; each part counts at least a tenth."""
    spam, wide = (np.array([x[key] for x in mails], np.float64) for key in ("spam", "linear"))
    grid = [(share, heat) for share in np.linspace(0.1, 0.9, 17) for heat in np.exp(np.linspace(-1.5, 1.5, 61))]
    share, heat = min(grid, key=lambda x: loss_of((x[0] * deep + (1 - x[0]) * wide) / x[1], spam))
    return share / heat, (1 - share) / heat


def moved(mails):
    """Returns the change of the log odds from the share of spam in the training mails to `PRIOR`."""
    share = np.mean([x["spam"] for x in mails])
    return math.log(PRIOR / (1 - PRIOR)) - math.log(share / (1 - share))


def train(data, options):
    torch.manual_seed(options.seed)
    np.random.seed(options.seed)
    mails, held = [x for x in data["train"] if x["fold"]], [x for x in data["train"] if not x["fold"]]
    model = Classifier(data["pieces"], options.drop)
    steps = options.epochs * math.ceil(len(mails) / options.batch) + options.epochs
    optimizer = torch.optim.AdamW(model.parameters(), lr=options.rate, weight_decay=options.decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, options.rate, total_steps=steps, pct_start=0.2)
    spam = torch.tensor([x["spam"] for x in mails])
    taught = torch.tensor([x["linear"] for x in mails], dtype=torch.float32)
    # The result is the mean over about the last hundred steps, which varies less than any one of them.
    kept = torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.99))
    best = (math.inf, None, None)
    for epoch in range(options.epochs):
        started, total = time.time(), 0.0
        model.train()
        for row, ids, mask in batches(mails, options.batch, TRAIN_LENGTH, True):
            lost = (torch.rand(ids.shape) < options.lose) & (ids > 2)
            logits = model(ids.masked_fill(lost, 1), mask)
            told = torch.sigmoid(taught[row])
            target = (1 - options.teach) * spam[row] + options.teach * told
            loss = F.binary_cross_entropy_with_logits(logits[:, 1] - logits[:, 0], target.clamp(0.01, 0.99))
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            kept.update_parameters(model)
            total += loss.item() * len(row)
        print(f"epoch {epoch + 1}: loss {total / len(mails):.4f}, {time.time() - started:.0f} s", flush=True)
        if epoch < options.epochs - 2:
            continue
        deep = odds(kept.module, held)
        factors = mix(deep, held)
        both = combined(deep, held, factors)
        report("  held back, deep part", deep, held)
        report(f"  held back, both, by {factors[0]:.2f} and {factors[1]:.2f}", both, held)
        loss = loss_of(both, np.array([x["spam"] for x in held]))
        if loss < best[0]:
            best = (loss, {k: v.clone() for k, v in kept.module.state_dict().items()}, factors)
    kept.module.load_state_dict(best[1])
    return kept.module, best[2]


def odds(model, mails):
    return np.subtract(*scores(model, mails).T[::-1]).astype(np.float64)


def combined(deep, mails, factors):
    return factors[0] * deep + factors[1] * np.array([x["linear"] for x in mails])


def stored(model, data, factors):
    """Returns all weights as stored, including the factors of both parts."""
    model.last.weight *= factors[0]
    model.last.bias *= factors[0]
    model.last.bias += torch.tensor([-0.5, 0.5]) * (data["bias"] * factors[1] + moved(data["train"]))
    weights = {name: value.numpy() for name, value in model.state_dict().items()}
    for name, value in data["weights"].items():
        # Whole multiples of one step: 8 bits represent them exactly, in every form of the model.
        value = np.array(value) * (1 if name.lower().endswith("size") else factors[1])
        step = np.float32(np.abs(value).max() / 127)
        weights[f"linear.{name}"] = np.round(value / step).astype(np.int8)
        weights[f"linear.{name}.step"] = np.array([step], np.float32)
    return weights


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("out")
    for name, kind, value in [
        ("seed", int, 7), ("epochs", int, 6), ("batch", int, 32), ("rate", float, 4e-3), ("decay", float, 0.05),
        ("drop", float, 0.15), ("lose", float, 0.1), ("teach", float, 0.4),
    ]:
        parser.add_argument(f"--{name}", type=kind, default=value)
    options = parser.parse_args()
    with open(f"{options.folder}/data.json") as file:
        data = json.load(file)
    model, factors = train(data, options)
    with torch.no_grad():
        np.savez_compressed(options.out, **stored(model, data, factors))
