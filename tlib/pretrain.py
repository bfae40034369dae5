"""Pretrain, once and for hours, the models that ship with the book: `tlib pretrain NAME`.

The network is that of a chapter: its notebook's cells tagged `define` are run, so that the code a reader sees is the
code that made the weights. What comes out is `tlib/checkpoints/NAME.safetensors` (`tlib.models.pack`) and its card.
"""

from __future__ import annotations

import json
import platform
import random
from collections.abc import Iterable, Sequence
from itertools import cycle, islice
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from tlib import data, models, paths, store
from tlib.recipes import CORPORA, RECIPES, TOKENIZERS, ChapterRecipe, LanguageModelRecipe, TargetRecipe

if TYPE_CHECKING:
    import torch
    from tokenizers import Tokenizer

HELD_OUT = 40  # documents, for the validation loss
TESTED_ON = ("bbc_news",)  # what the general models and their offspring are tested on
CURVE_EVERY = 200  # updates averaged into one point of the card's loss curve


class PretrainError(RuntimeError):
    """A checkpoint cannot be made; the message names the remedy."""


def definitions(chapter: str) -> SimpleNamespace:
    """The names that the cells tagged `define` of a chapter's notebook define, without running the rest of it.

    Raises PretrainError outside a checkout of the project: an installed package has no notebooks.
    """
    import nbformat

    root = paths.root()
    notebook = (root or Path()) / "notebooks" / f"{chapter}.ipynb"
    if root is None or not notebook.is_file():
        raise PretrainError(f"pretraining runs the cells of notebooks/{chapter}.ipynb: call it in a checkout")
    cells = nbformat.read(notebook, as_version=4).cells
    source = "\n\n".join(cell.source for cell in cells if "define" in cell.metadata.get("tags", ()))
    names: dict[str, Any] = {}
    exec(compile(source, str(notebook), "exec"), names)
    return SimpleNamespace(**names)


def documents_of(corpus: str, tested_on: Sequence[str] = ()) -> list[str]:
    """The documents of a corpus of `tlib.recipes.CORPORA`, in the order in which a language model reads them.

    Those that have 13 words in a row in common with a test text of the data sets `tested_on` are left out.
    """
    documents = []
    for source, rows in CORPORA[corpus].items():
        texts = texts_of(source, "train")
        documents += ["\n".join(texts[start : start + rows]) for start in range(0, len(texts), rows)]
    random.Random(0).shuffle(documents)
    tests = [text for source in tested_on for text in texts_of(source, "test")]
    return data.without_overlap(documents, tests) if tests else documents


def texts_of(source: str, split: str) -> list[str]:
    """The texts of a data set's split; `source` is its name, or "name/split" where another split is meant."""
    name, _, other = source.partition("/")
    return list(data.load(name)[other or split]["text"])


def train_tokenizer(documents: Iterable[str], special: list[str], vocab_size: int = 8000) -> Tokenizer:
    """Uncased word pieces, as BERT cuts words, learned from `documents`, behind the `special` ones."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(vocab_size=vocab_size, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(documents, trainer)
    return tokenizer


def directed(encoded: Iterable[list[int]], tokenizer: Tokenizer, direction: str) -> list[list[int]]:
    """Documents of ids, each behind a [BOS] and reversed where the direction is not "forward" but "backward"."""
    bos, order = tokenizer.token_to_id("[BOS]"), {"forward": 1, "backward": -1}[direction]
    return [[bos, *document[::order]] for document in encoded]


def encode(tokenizer: Tokenizer, texts: list[str]) -> list[list[int]]:
    """The ids of each text."""
    return [encoding.ids for encoding in tokenizer.encode_batch_fast(texts)]


def run(name: str, *, out: Path | None = None) -> Path:
    """Train the checkpoint `name` and ship it with its card; a run that was killed is resumed.

    Args:
        name: a key of `tlib.recipes.RECIPES`.
        out: folder for the weights and the card; a recipe's base model is read from there too. Default:
            `tlib/checkpoints`.

    Returns:
        The weights' path.

    Raises:
        PretrainError: there is no such recipe, this is no checkout of the project, or the state of a training that was
            stopped is damaged or of other settings.
        tlib.data.DataError: a corpus cannot be had.
    """
    from tlib.resume import CheckpointError

    if name not in RECIPES:
        raise PretrainError(f"no recipe is called {name!r}; there are {', '.join(RECIPES)}")
    folder, state = out or models.CHECKPOINTS, paths.cache() / "pretraining" / f"{name}.safetensors"
    recipe = RECIPES[name]
    train = {LanguageModelRecipe: _train_general, TargetRecipe: _train_target, ChapterRecipe: _train_chapter}
    try:
        weights, measured = train[type(recipe)](recipe, _tokenizer(folder, recipe.tokenizer), state, folder)
    except CheckpointError as error:
        raise PretrainError(str(error)) from error
    return ship(name, weights, measured, folder, recipe.tokenizer)


def _train_general(recipe: LanguageModelRecipe, tokenizer: Tokenizer, state: Path, folder: Path) -> tuple:
    """A language model from random weights: its weights, and what goes on its card."""
    documents = documents_of("general_english")
    encoded = encode(tokenizer, documents)
    history, model = train_language_model(recipe, encoded, tokenizer, checkpoint=state)
    held_out = directed(encoded[:HELD_OUT], tokenizer, recipe.direction)
    measured = general_card(recipe, documents) | {
        "valid_loss": validation_loss(model, held_out),
        "hours": history.seconds / 3600,
    }
    return model.state_dict(), measured | {"curve": curve(history.losses)}


def _train_chapter(recipe: ChapterRecipe, tokenizer: Tokenizer, state: Path, folder: Path) -> tuple:
    """What the chapter's own function makes of the recipe's corpus: its weights, and what goes on its card.

    The function is called as `function(documents, tokenizer, checkpoint=state, **settings)`. It returns weights (a dict
    of tensors) and a dict with architecture, updates, tokens_seen, valid_loss, losses (of each update) and seconds.
    """
    documents = documents_of(recipe.corpus, recipe.tested_on)
    function = getattr(definitions(recipe.chapter), recipe.function)
    weights, measured = function(documents, tokenizer, checkpoint=state, **recipe.settings)
    losses, seconds = measured.pop("losses"), measured.pop("seconds")
    card = {
        "chapter": recipe.chapter,
        "corpora": data.hashes(sources(recipe.corpus)),
        "settings": recipe.settings,
        "overlap": overlaps(documents, recipe.tested_on),
        "hours": seconds / 3600,
    }
    return weights, card | measured | {"curve": curve(losses)}


def sources(corpus: str) -> list[str]:
    """The data sets of which a corpus is made."""
    return list(dict.fromkeys(source.partition("/")[0] for source in CORPORA[corpus]))


def train_language_model(
    recipe: LanguageModelRecipe,
    encoded: list[list[int]],
    tokenizer: Tokenizer,
    *,
    updates: int | None = None,
    checkpoint: Path | None = None,
) -> tuple:
    """The recipe's training, or its first `updates`; returns history and model. The text is read as often as needed."""
    import torch

    from tlib.batching import bptt_batches, lm_streams
    from tlib.language_model import NextTokenLoss
    from tlib.training import fit

    defined = definitions(recipe.chapter)
    torch.manual_seed(recipe.seed)
    model = defined.LanguageModel(defined.AWDLSTM(**recipe.architecture, dropout=recipe.dropout), recipe.output_dropout)
    loss = NextTokenLoss()
    text = directed(encoded[HELD_OUT:], tokenizer, recipe.direction)
    ids = [token for document in text for token in document]
    windows = bptt_batches(lm_streams(ids, recipe.batch_size), recipe.bptt)
    history = fit(
        model,
        loss,
        lambda epoch: list(islice(cycle(windows), updates or recipe.updates)),
        optimizer=torch.optim.Adam(model.parameters(), lr=recipe.lr, betas=recipe.betas, fused=True),
        schedule=lambda step, _: recipe.multiplier(step),
        clip=recipe.clip,
        checkpoint=checkpoint,
        state=loss,
        description=recipe.direction,
    )
    return history, model


def _train_target(recipe: TargetRecipe, tokenizer: Tokenizer, state: Path, folder: Path) -> tuple:
    """The base checkpoint in `folder` fine-tuned on a task's text: its weights, and what goes on its card."""
    weights, base = models.checkpoint(recipe.base, folder)
    defined = definitions(base["chapter"])
    model = defined.new_language_model(base["architecture"], recipe.dropout_scale)
    model.load_state_dict(weights)
    splits = data.load(recipe.dataset)
    text = {
        split: directed(encode(tokenizer, list(splits[split]["text"])), tokenizer, base["direction"])
        for split in ("train", "dev")
    }
    before = validation_loss(model, text["dev"])
    settings = {key: getattr(recipe, key) for key in ("lr", "epochs", "batch_size", "bptt", "seed")}
    history = defined.fine_tune_language_model(model, text["train"], **settings, checkpoint=state)
    measured = {key: base[key] for key in ("chapter", "direction", "architecture")} | {
        "base": {"name": recipe.base, "sha256": base["sha256"]},
        "corpora": data.hashes([recipe.dataset]),
        "settings": settings | {"dropout_scale": recipe.dropout_scale},
        "updates": len(history.losses),
        "tokens_seen": recipe.epochs * sum(len(document) for document in text["train"]),
        "overlap": overlaps(list(splits["train"]["text"]), TESTED_ON),
        "valid_loss_before": before,
        "valid_loss": validation_loss(model, text["dev"]),
        "hours": history.seconds / 3600,
    }
    return model.state_dict(), measured | {"curve": curve(history.losses)}


def _tokenizer(folder: Path, name: str = "english_8k") -> Tokenizer:
    """The folder's tokenizer `name`: the shipped one, or one trained now where none ships yet.

    Each training breaks ties anew, so two models that go together must not each have their own.
    """
    from tokenizers import Tokenizer

    path, shipped = folder / f"{name}.json", models.CHECKPOINTS / f"{name}.json"
    with store.locked(paths.cache() / "pretraining" / path.name):
        if not path.exists():
            known = shipped.read_text(encoding="utf-8") if shipped.exists() else None
            trained = known or train_tokenizer(documents_of("general_english"), TOKENIZERS[name]).to_str()
            store.write(path, trained.encode())
    return Tokenizer.from_file(str(path))


def validation_loss(model: torch.nn.Module, documents: list[list[int]]) -> float:
    """Mean next-token loss on held-out documents, in nats."""
    import torch

    from tlib.batching import bptt_batches, lm_streams
    from tlib.language_model import NextTokenLoss

    windows = bptt_batches(lm_streams([token for document in documents for token in document], 16), 96)
    loss = NextTokenLoss()
    with torch.no_grad():
        total = sum(float(loss(model.eval(), window)) * window[1].numel() for window in windows)
    return total / sum(window[1].numel() for window in windows)


def curve(losses: list[float]) -> list[float]:
    """Mean training loss of each 200 updates."""
    parts = [losses[start : start + CURVE_EVERY] for start in range(0, len(losses), CURVE_EVERY)]
    return [round(sum(part) / len(part), 4) for part in parts]


def general_card(recipe: LanguageModelRecipe, documents: list[str]) -> dict[str, Any]:
    """What a general model's card says of its recipe and its corpora."""
    settings = {"lr": recipe.lr, "batch_size": recipe.batch_size, "bptt": recipe.bptt, "seed": recipe.seed}
    return {
        "chapter": recipe.chapter,
        "direction": recipe.direction,
        "architecture": recipe.architecture,
        "corpora": data.hashes(sources("general_english")),
        "settings": settings | {"dropout": recipe.dropout, "output_dropout": recipe.output_dropout},
        "updates": recipe.updates,
        "tokens_seen": recipe.updates * recipe.batch_size * recipe.bptt,
        "overlap": overlaps(documents, TESTED_ON),
    }


def ship(name: str, weights: dict[str, torch.Tensor], measured: dict[str, Any], folder: Path, tokenizer: str) -> Path:
    """Write weights, packed, and their card; returns the weights' path."""
    import torch
    from safetensors.torch import save

    path = folder / f"{name}.safetensors"
    store.write(path, save(models.pack(weights)))
    card = {"name": name, "parameters": sum(tensor.numel() for tensor in weights.values())} | measured
    card |= {
        "hardware": f"{platform.machine()}, {torch.get_num_threads()} thread(s)",
        "curve_every": CURVE_EVERY,
        "tokenizer": {"name": tokenizer, "sha256": store.sha256(folder / f"{tokenizer}.json")},
        "sha256": store.sha256(path),
    }
    store.write(folder / f"{name}.json", (json.dumps(card, indent=1) + "\n").encode())
    return path


def overlaps(documents: list[str], tested_on: Sequence[str]) -> dict[str, float]:
    """Share of the test documents of each data set that have 13 words in a row from `documents`."""
    return {source: data.overlap(documents, texts_of(source, "test")).fraction for source in tested_on}
