"""Our training loop against `transformers.Trainer` on the same work: MiniLM fine-tuned on Rotten Tomatoes.

    python tests/benchmarks/bench_training.py speed --steps 100 --repetitions 3
    python tests/benchmarks/bench_training.py accuracy --epochs 2 --seeds 3

Each arm trains the same `BertForSequenceClassification` with AdamW, a linearly falling rate, clipping at 1, dropout
0.1, batches of 32 and at most 64 tokens. `speed` runs the arms in turn, several times over, and reports medians:
wall-clock time, and CPU time, which says the same when the machine is shared. `accuracy` trains to the end and scores
the dev split.
Both print a table for book/authors/training-benchmark.md.
"""

import argparse
import statistics
import tempfile
import time
from dataclasses import dataclass

import numpy as np
import torch
from transformers import (
    BertForSequenceClassification,
    BertTokenizerFast,
    DataCollatorWithPadding,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    set_seed,
)
from transformers.utils import logging

from tlib import data
from tlib.batching import length_buckets, pad
from tlib.encoding import first_token_states, use_fast_training
from tlib.evaluation import correct, predict_logits
from tlib.training import fit, linear_schedule

BATCH, TOKENS, RATE = 32, 64, 5e-5


@dataclass
class Work:
    """What an arm trains on: token ids and labels, how long, and which seed."""

    ids: list[list[int]]
    labels: list[int]
    epochs: int
    seed: int


@dataclass
class Run:
    """What an arm needed, and what it made."""

    model: BertForSequenceClassification
    wall: float
    cpu: float


def load(split: str, limit: int | None = None) -> tuple[list[list[int]], list[int]]:
    tokenizer = BertTokenizerFast.from_pretrained(data.fetch_dir("minilm"))
    rows = data.load("rotten_tomatoes")[split].shuffle(seed=0)
    rows = rows.select(range(min(limit or len(rows), len(rows))))
    return tokenizer(list(rows["text"]), truncation=True, max_length=TOKENS)["input_ids"], list(rows["label"])


def new_model(seed: int) -> BertForSequenceClassification:
    set_seed(seed)
    return BertForSequenceClassification.from_pretrained(data.fetch_dir("minilm"), num_labels=2)


class Stopwatch(TrainerCallback):
    """Times what lies between the first batch and the last, without Trainer's own set-up."""

    def on_train_begin(self, *args, **kwargs):
        self.start = time.perf_counter(), time.process_time()

    def on_train_end(self, *args, **kwargs):
        self.wall, self.cpu = time.perf_counter() - self.start[0], time.process_time() - self.start[1]


def run_trainer(work: Work, bf16: bool, grouped: bool, freeze: bool = False) -> Run:
    model = new_model(work.seed)
    if freeze:
        model.bert.embeddings.word_embeddings.requires_grad_(False)
    tokenizer = BertTokenizerFast.from_pretrained(data.fetch_dir("minilm"))
    stopwatch = Stopwatch()
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            use_cpu=True,
            bf16=bf16,
            train_sampling_strategy="group_by_length" if grouped else "random",
            per_device_train_batch_size=BATCH,
            num_train_epochs=work.epochs,
            learning_rate=RATE,
            seed=work.seed,
            report_to=[],
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
        )
        rows = [{"input_ids": ids, "label": label} for ids, label in zip(work.ids, work.labels, strict=True)]
        Trainer(
            model,
            arguments,
            data_collator=DataCollatorWithPadding(tokenizer),
            train_dataset=rows,
            callbacks=[stopwatch],
        ).train()
    return Run(model, stopwatch.wall, stopwatch.cpu)


def logits_of(model: BertForSequenceClassification, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """The model's own head on the one state that it reads."""
    first = first_token_states(model.bert, batch["input_ids"], batch["attention_mask"])
    return model.classifier(model.dropout(model.bert.pooler(first[:, None])))


def loss_of(model: BertForSequenceClassification, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    return torch.nn.functional.cross_entropy(logits_of(model, batch).float(), batch["labels"])


def make_batches(ids: list[list[int]], labels: list[int], buckets: list[list[int]]) -> list[dict[str, torch.Tensor]]:
    batches = []
    for bucket in buckets:
        input_ids, mask = pad([ids[i] for i in bucket])
        labels_of = torch.tensor([labels[i] for i in bucket])
        batches.append({"input_ids": input_ids, "attention_mask": mask, "labels": labels_of})
    return batches


def run_tlib(work: Work, freeze: bool = False) -> Run:
    model = new_model(work.seed)
    use_fast_training(model)
    model.bert.embeddings.word_embeddings.requires_grad_(not freeze)
    lengths = [len(ids) for ids in work.ids]

    def batches(epoch: int) -> list[dict[str, torch.Tensor]]:
        return make_batches(work.ids, work.labels, length_buckets(lengths, BATCH, seed=work.seed, epoch=epoch))

    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=RATE, weight_decay=0.0, fused=True)
    cpu = time.process_time()
    history = fit(
        model,
        loss_of,
        batches,
        optimizer=optimizer,
        epochs=work.epochs,
        schedule=linear_schedule(0.0),
        clip=1.0,
        progress=False,
    )
    return Run(model, history.seconds, time.process_time() - cpu)


ARMS = {
    "Trainer, fp32": lambda work: run_trainer(work, bf16=False, grouped=False),
    "Trainer, bf16": lambda work: run_trainer(work, bf16=True, grouped=False),
    "Trainer, bf16, grouped by length": lambda work: run_trainer(work, bf16=True, grouped=True),
    "Trainer, bf16, grouped, frozen embeddings": lambda work: run_trainer(work, bf16=True, grouped=True, freeze=True),
    "tlib": run_tlib,
    "tlib, frozen embeddings": lambda work: run_tlib(work, freeze=True),
}
BEST = "Trainer, bf16, grouped by length"


def speed(steps: int, repetitions: int, arms: list[str]) -> None:
    ids, labels = load("train", steps * BATCH)
    for arm in arms:  # the first updates allocate memory and choose kernels
        ARMS[arm](Work(ids[: 3 * BATCH], labels[: 3 * BATCH], 1, 0))
    runs: dict[str, list[Run]] = {arm: [] for arm in arms}
    for repetition in range(repetitions):
        for arm in arms[repetition % len(arms) :] + arms[: repetition % len(arms)]:
            run = ARMS[arm](Work(ids, labels, 1, repetition))
            run.model = None
            runs[arm].append(run)
            print(
                f"{repetition} {arm}: {len(ids) / run.wall:.1f} examples/s, {len(ids) / run.cpu:.1f} per CPU second",
                flush=True,
            )
    print(
        "\n| arm | examples/s | of Trainer's bf16 | of its best | examples per CPU second | of its best |\n|---|"
        + "---:|" * 5
    )
    for arm in arms:

        def against(other: str, clock: str, arm: str = arm) -> str:
            pairs = zip(runs[arm], runs.get(other, []), strict=False)
            ratios = [getattr(theirs, clock) / getattr(ours, clock) for ours, theirs in pairs]
            return f"{statistics.median(ratios):.2f}" if ratios else "–"

        wall, cpu = (
            statistics.median(len(ids) / getattr(run, clock) for run in runs[arm]) for clock in ("wall", "cpu")
        )
        ratios = against("Trainer, bf16", "wall"), against(BEST, "wall")
        print(f"| {arm} | {wall:.0f} | {ratios[0]} | {ratios[1]} | {cpu:.0f} | {against(BEST, 'cpu')} |")


def accuracy(epochs: int, seeds: int, arms: list[str]) -> None:
    ids, labels = load("train")
    dev_ids, dev_labels = load("dev")
    buckets = length_buckets([len(row) for row in dev_ids], 64)
    batches, order = make_batches(dev_ids, dev_labels, buckets), [i for bucket in buckets for i in bucket]
    scores: dict[str, list[float]] = {arm: [] for arm in arms}
    for seed in range(seeds):
        for arm in arms:
            run = ARMS[arm](Work(ids, labels, epochs, seed))
            logits = predict_logits(run.model, batches, logits_of, order, precision="fp32")
            scores[arm].append(correct(logits, dev_labels).mean())
            print(
                f"seed {seed} {arm}: {scores[arm][-1]:.4f}, {len(ids) * epochs / run.wall:.1f} examples/s", flush=True
            )
    print("\n| arm | dev accuracy, mean | per seed |\n|---|---:|---|")
    for arm, values in scores.items():
        print(f"| {arm} | {np.mean(values):.4f} | {', '.join(f'{v:.4f}' for v in values)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["speed", "accuracy"])
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--arms", nargs="*", choices=list(ARMS), default=list(ARMS))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    if options.what == "speed":
        speed(options.steps, options.repetitions, options.arms)
    else:
        accuracy(options.epochs, options.seeds, options.arms)


if __name__ == "__main__":
    main()
