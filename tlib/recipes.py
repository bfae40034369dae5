"""What each shipped checkpoint is made of: corpora, architecture and settings. `tlib.pretrain` does the training."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

# Tokenizer: its special pieces, which have the first ids. Each has 8,000 uncased word pieces of general English.
TOKENIZERS = {
    "english_8k": ["[PAD]", "[UNK]", "[BOS]", "[EOS]"],
    "bert_8k": ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"],
}

# Corpus: data set (or data set/split, by default train): how many rows make one document. Glosses and entries of a line
# or two are read in batches.
CORPORA = {
    "general_english": {
        "state_of_the_union": 1,
        "brown": 1,
        "factbook": 20,
        "wordnet": 50,
        "foldoc": 5,
        "anarchist_faq": 1,
    },
    "film_reviews": {"rotten_tomatoes": 1, "rotten_tomatoes/plots": 1, "long_reviews": 1},
    "prose": {  # neither Brown nor WordNet, which chapter 02 tests on
        "state_of_the_union": 1,
        "factbook": 20,
        "foldoc": 5,
        "anarchist_faq": 1,
        "bbc_news": 1,
        "long_reviews": 1,
        "rotten_tomatoes/plots": 1,
    },
}

# What chapter 06 goes on pretraining with. Ten sentences about a film, some fields or entries make a document.
_NEWS = {"bbc_news": 1}
_TOPICS = _NEWS | {"factbook": 20, "foldoc": 5}
CORPORA |= {
    "task_news": _NEWS,
    "topic_domain": _TOPICS,
    "all_domains": _TOPICS | {"long_reviews": 1, "rotten_tomatoes": 10, "rotten_tomatoes/plots": 1},
}

CORPORA["general_english_but_factbook"] = {  # of whose fields chapter 05 asks questions
    source: rows for source, rows in CORPORA["general_english"].items() if source != "factbook"
}
CORPORA["general_english_but_brown"] = {  # for what is tested on Brown's tags
    source: rows for source, rows in CORPORA["general_english"].items() if source != "brown"
}


@dataclass(frozen=True)
class LanguageModelRecipe:
    """Everything that a language model's weights depend on, besides the notebook's cells.

    `updates` of `batch_size` streams by `bptt` tokens; the rate rises over `warmup` updates, is held, and falls as a
    cosine over the last `decay` share, so that a longer training can go on from a checkpoint of the middle part.
    """

    chapter: str
    direction: str
    architecture: dict[str, int]
    dropout: dict[str, float]
    output_dropout: float
    updates: int = 15_000
    batch_size: int = 16
    bptt: int = 48
    lr: float = 4e-3
    betas: tuple[float, float] = (0.8, 0.99)
    clip: float = 1.0
    warmup: int = 300
    decay: float = 0.25
    seed: int = 0
    tokenizer: str = "english_8k"

    def multiplier(self, step: int) -> float:
        """Learning rate of update `step`, as a share of `lr`."""
        rise = min(1.0, (step + 1) / self.warmup)
        fall = max(0.0, (step - (1 - self.decay) * self.updates) / (self.decay * self.updates))
        return rise * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * fall)))


_ULMFIT = {
    "chapter": "03_ulmfit",
    "architecture": {"vocab_size": 8000, "embedding_dim": 192, "hidden_size": 256, "num_layers": 3},
    "dropout": {"embedding": 0.02, "weight": 0.1, "input": 0.05, "hidden": 0.05},
    "output_dropout": 0.05,
}
GENERAL = {
    f"ulmfit_lm_{direction}": LanguageModelRecipe(direction=direction, **_ULMFIT)
    for direction in ("forward", "backward")
}


@dataclass(frozen=True)
class TargetRecipe:
    """Fine-tuning of the checkpoint `base` on the training text of `dataset`, by the chapter's own stage 2."""

    base: str
    dataset: str
    lr: float = 0.01
    epochs: int = 8
    dropout_scale: float = 0.3
    batch_size: int = 16
    bptt: int = 48
    seed: int = 0
    tokenizer: str = "english_8k"


TARGET = {
    f"ulmfit_bbc_{direction}": TargetRecipe(base=f"ulmfit_lm_{direction}", dataset="bbc_news")
    for direction in ("forward", "backward")
}


@dataclass(frozen=True)
class ChapterRecipe:
    """Pretraining that a chapter's own function does: `tlib.pretrain.run` says what it is given and what it returns.

    Attributes:
        chapter, function: the notebook, and the function that its cells tagged `define` define.
        corpus: a key of `CORPORA`.
        settings: keyword arguments of the function.
        tested_on: data sets (or data set/split, by default test) whose text must not be in the corpus.
        tokenizer: a key of `TOKENIZERS`.
    """

    chapter: str
    function: str
    corpus: str
    settings: dict[str, Any]
    tested_on: tuple[str, ...]
    tokenizer: str = "english_8k"


def _dai(objective: str, corpus: str, epochs: int) -> ChapterRecipe:
    settings = {
        "objective": objective,
        "architecture": {"vocab_size": 8000, "embedding_dim": 96, "hidden_size": 128},
        "dropout": 0.1,
        "pieces": 1_100_000,
        "held_out": 20_000,
        "epochs": epochs,
        "lr": 4e-3,
        "seed": 0,
        "batches": {"batch_size": 16, "bptt": 48, "longest": 40},
    }
    return ChapterRecipe("01_semi-supervised-sequence-learning", "pretrain", corpus, settings, ("rotten_tomatoes",))


DAI = {
    "dai_lm_film": _dai("lm", "film_reviews", epochs=14),
    "dai_sa_film": _dai("sa", "film_reviews", epochs=60),
    "dai_lm_general": _dai("lm", "general_english", epochs=14),
}

ELMO = {
    "elmo_bilm": ChapterRecipe(
        chapter="02_elmo",
        function="pretrain_bilm",
        corpus="prose",
        settings={
            "architecture": {
                "vocab_size": 4000,
                "filters": [[1, 16], [2, 16], [3, 32], [4, 64], [5, 64]],
                "cells": 256,
                "projection": 96,
            },
            "batch_size": 32,
            "window": 20,
            "lr": 4e-3,
            "updates": 20_000,
            "passes": 3,
            "held_out": 40,
            "seed": 0,
        },
        tested_on=("brown/train", "rotten_tomatoes"),
    )
}

_BERT_TESTED_ON = ("bbc_news", "rotten_tomatoes", "brown/train")


def _bert(objective: str, hidden_size: int, num_layers: int, num_heads: int, **settings: Any) -> ChapterRecipe:
    architecture = {"vocab_size": 8000, "hidden_size": hidden_size, "num_layers": num_layers, "num_heads": num_heads}
    architecture |= {"intermediate_size": 4 * hidden_size, "max_length": 64}
    common = {"architecture": architecture, "objective": objective, "lr": 1e-3, "held_out": 40, "seed": 0}
    return ChapterRecipe(
        "04_bert", "pretrain_bert", "general_english_but_brown", common | settings, _BERT_TESTED_ON, tokenizer="bert_8k"
    )


_ARM = {"hidden_size": 128, "num_layers": 2, "num_heads": 4, "batch_size": 8, "updates": 24_000, "warmup": 0.0025}
BERT = {
    "bert_small": _bert(
        "mlm+nsp", hidden_size=192, num_layers=4, num_heads=6, batch_size=32, updates=20_000, warmup=0.02
    ),
    "bert_arm_mlm_nsp": _bert("mlm+nsp", **_ARM),
    "bert_arm_mlm": _bert("mlm", **_ARM),
    "bert_arm_ltr": _bert("ltr", **_ARM),
    # As many updates as it takes left-to-right to be asked for as many pieces as `bert_arm_mlm` is; the same warm-up.
    "bert_arm_ltr_short": _bert("ltr", **_ARM | {"updates": 3_800, "warmup": 0.0158}),
    "minilm_mlm_head": ChapterRecipe(
        chapter="04_bert",
        function="pretrain_mlm_head",
        corpus="general_english_but_brown",
        settings={
            "batch_size": 16,
            "max_length": 64,
            "updates": 3_000,
            "lr": 3e-3,
            "warmup": 0.02,
            "held_out": 40,
            "seed": 0,
        },
        tested_on=_BERT_TESTED_ON,
        tokenizer="bert_8k",
    ),
}


def _t5(objective: str, d_model: int, updates: int, seed: int = 0) -> ChapterRecipe:
    sizes = {"d_model": d_model, "d_ff": 4 * d_model, "num_heads": 4, "num_layers": 2}
    settings = {
        "architecture": {"vocab_size": 8000, "sentinels": 32, **sizes},
        "objective": objective,
        "input_length": 64,
        "batch_size": 32,
        "updates": updates,
        "rate": 1.0,
        "n0": 1000,
        "dropout": 0.0,
        "held_out": 100,
        "seed": seed,
    }
    tested_on = (
        "rotten_tomatoes",
        "rotten_tomatoes/plots",
        "bbc_news",
        "certainty",
        "factbook/train",
        "german_english",
    )
    return ChapterRecipe("05_t5", "pretrain_t5", "general_english_but_factbook", settings, tested_on)


T5 = {"t5_small_en": _t5("spans", 128, 27_000)} | {
    f"t5_mini_{objective}_{seed}": _t5(objective, 64, 9_000, seed)
    for objective in ("spans", "gaps", "whole", "rest", "order")
    for seed in (0, 1)
}


def _further(corpus: str) -> ChapterRecipe:
    settings = {"batch_size": 16, "max_length": 64, "updates": 4_000, "lr": 1e-3, "warmup": 0.1}
    settings |= {"rank": 36, "held_out": 328, "seed": 0}
    tested_on = ("bbc_news", "long_reviews", "rotten_tomatoes")
    return ChapterRecipe("06_how-to-fine-tune-bert", "further_pretrain", corpus, settings, tested_on, "bert_8k")


FURTHER = {
    "further_task": _further("task_news"),
    "further_domain": _further("topic_domain"),
    "further_all": _further("all_domains"),
    "further_general": _further("general_english_but_brown"),  # the control: what bert_small has read before
}

CHAPTER: dict[str, ChapterRecipe] = {**DAI, **ELMO, **BERT, **T5, **FURTHER}

RECIPES = GENERAL | TARGET | CHAPTER
