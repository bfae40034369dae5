"""Right solutions that are written in other ways than the reference: loops, other algorithms, NumPy, other types."""

import bisect
import math
from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from itertools import accumulate, groupby
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

RIGHT: dict[str, list[Callable[..., Any]]] = {}


def right(exercise: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Enter a function as a right solution of an exercise."""

    def enter(function: Callable[..., Any]) -> Callable[..., Any]:
        RIGHT.setdefault(exercise, []).append(function)
        return function

    return enter


class RefusedError(ValueError):
    """A student's own kind of ValueError."""


# Chapter 01


@right("gain-weights")
def gain_weights_in_loops(mask, power):
    rows = []
    for row in mask.tolist():
        count = sum(row)
        if count == 0:
            raise ValueError
        total, t, weights = sum((k + 1) ** power for k in range(count)), 0, []
        for real in row:
            t += real
            weights.append(t**power / total if real else 0.0)
        rows.append(weights)
    return torch.tensor(rows)


@right("gain-weights")
def gain_weights_by_a_triangle(mask, power):
    if (mask.sum(1) == 0).any():
        raise RefusedError("empty row")
    real = mask.double()
    step = real @ torch.ones(mask.shape[1], mask.shape[1], dtype=torch.float64).triu()
    return F.normalize(real * step.pow(power), p=1, dim=1)


@right("gain-weights")
def gain_weights_in_numpy(mask, power):
    out = np.zeros(mask.shape, dtype=np.float32)
    for row, real in enumerate(mask.numpy()):
        (places,) = np.nonzero(real)
        if len(places) == 0:
            raise ValueError("empty row")
        weights = np.arange(1, len(places) + 1) ** power
        out[row, places] = weights / weights.sum()
    return out


@right("gain-weights")
def gain_weights_by_a_softmax(mask, power):
    if not all(row.any() for row in mask):
        raise ValueError("empty row")
    return torch.softmax((power * mask.cumsum(1).log()).masked_fill(~mask, -math.inf), dim=1)


@right("reversed-batch")
def reversed_batch_of_lists(sequences, bos, eos, pad, ignore=-100):
    if len(sequences) == 0 or any(len(x) == 0 for x in sequences):
        raise ValueError("nothing to read")
    longest = max(map(len, sequences))
    inputs, targets = [], []
    for x in sequences:
        missing = 2 * (longest - len(x))
        inputs.append([bos, *reversed(x), eos] + x[:-1] + missing * [pad])
        targets.append([ignore] * (len(x) + 1) + x + missing * [ignore])
    return torch.tensor(inputs), torch.tensor(targets)


@right("reversed-batch")
def reversed_batch_by_pad_sequence(sequences, bos, eos, pad, ignore=-100):
    if not sequences or not all(sequences):
        raise ValueError("nothing to read")
    inputs, targets = [], []
    for x in map(torch.tensor, sequences):
        inputs.append(torch.cat([torch.tensor([bos]), x.flip(0), torch.tensor([eos]), x[:-1]]))
        targets.append(torch.cat([torch.full_like(inputs[-1][: len(x) + 1], ignore), x]))
    return [
        nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=value)
        for rows, value in ((inputs, pad), (targets, ignore))
    ]


@right("reversed-batch")
def reversed_batch_in_numpy(sequences, bos, eos, pad, ignore=-100):
    shortest = min((len(x) for x in sequences), default=0)
    if shortest < 1:
        raise ValueError("nothing to read")
    shape = len(sequences), 2 * max(len(x) for x in sequences) + 1
    inputs, targets = np.full(shape, pad), np.full(shape, ignore)
    for row, x in enumerate(sequences):
        inputs[row, 0], inputs[row, len(x) + 1] = bos, eos
        for k in range(len(x)):
            inputs[row, len(x) - k] = x[k]
            targets[row, len(x) + 1 + k] = x[k]
            if k < len(x) - 1:
                inputs[row, len(x) + 2 + k] = x[k]
    return torch.from_numpy(inputs), torch.from_numpy(targets)


@right("carry-over")
def carry_over_by_one_index(weights, old, new, fresh):
    if len(weights) != len(old) or len(fresh) != len(new) or weights.shape[1] != fresh.shape[1]:
        raise ValueError("misfit")
    times = Counter(piece.lower() for piece in old)
    row_of = {piece.lower(): row for row, piece in enumerate(old) if times[piece.lower()] == 1}
    index = []
    for i, piece in enumerate(new):
        row = old.index(piece) if piece in old else row_of.get(piece.lower())
        index.append(len(old) + i if row is None else row)
    return torch.cat([weights, fresh])[index]


@right("carry-over")
def carry_over_into_a_copy(weights, old, new, fresh):
    if fresh.shape != (len(new), weights.size(-1)) or weights.size(0) != len(old):
        raise ValueError("misfit")
    moved = fresh.clone()
    for i, piece in enumerate(new):
        alike = [row for row, other in enumerate(old) if other == piece]
        alike = alike or [row for row, other in enumerate(old) if other.lower() == piece.lower()]
        if len(alike) == 1:
            moved[i] = weights[alike[0]]
    return moved


@right("carry-over")
def carry_over_by_a_matrix(weights, old, new, fresh):
    if (len(old), len(new)) != (len(weights), len(fresh)) or weights[0].shape != fresh[0].shape:
        raise ValueError("misfit")
    same = torch.tensor([[float(a == b) for b in old] for a in new])
    alike = torch.tensor([[float(a.lower() == b.lower()) for b in old] for a in new])
    known, once = same.sum(1, keepdim=True), (alike.sum(1, keepdim=True) == 1).float()
    chosen = torch.where(known > 0, same, once * alike)
    return chosen @ weights + (1 - chosen.sum(1, keepdim=True)) * fresh


# Chapter 02


@right("scalar-mix")
def mix_layers_one_by_one(layers, w, gamma, mask=None):
    if w.shape[0] != layers.shape[0]:
        raise ValueError("a weight for each layer")
    shares = (w - w.max()).exp()
    shares = shares / shares.sum()
    mixed = 0.0
    for share, layer in zip(shares, layers, strict=True):
        if mask is not None:
            values = layer[mask]
            normed = (layer - values.mean()) / torch.sqrt(values.var(unbiased=False) + 1e-12)
            layer = torch.where(mask.unsqueeze(-1), normed, torch.zeros_like(normed))
        mixed = mixed + share * layer
    return gamma * mixed


@right("scalar-mix")
def mix_layers_by_layer_norm(layers, w, gamma, mask=None):
    if len(layers) != len(w):
        raise ValueError("a weight for each layer")
    if mask is not None:
        normed = []
        for layer in layers:
            values = layer[mask].reshape(-1)
            blank = torch.zeros_like(layer)
            blank[mask] = F.layer_norm(values, values.shape, eps=1e-12).view(-1, layer.size(-1))
            normed.append(blank)
        layers = torch.stack(normed)
    return torch.einsum("l,lbtd->btd", w.softmax(0) * gamma, layers)


@right("scalar-mix")
def mix_layers_by_a_product(layers, w, gamma, mask=None):
    if w.numel() != layers.size(0):
        raise ValueError("a weight for each layer")
    if mask is not None:
        flat = layers[:, mask].flatten(1)
        centred = flat - flat.mean(1, keepdim=True)
        flat = centred * (centred.pow(2).mean(1, keepdim=True) + 1e-12).rsqrt()
        layers = torch.zeros_like(layers).masked_scatter(mask[None, ..., None].expand_as(layers), flat)
    return (F.log_softmax(w, 0).exp() @ layers.flatten(1) * gamma).view(layers.shape[1:])


@right("bilm-targets")
def bilm_targets_in_loops(ids, lengths, ignore=-100):
    rows, width = ids.tolist(), ids.shape[1]
    forward, backward = ([[ignore] * width for _ in rows] for _ in range(2))
    for row, length in enumerate(lengths.tolist()):
        if not 1 <= length <= width:
            raise ValueError("no such length")
        for t in range(length - 1):
            forward[row][t] = rows[row][t + 1]
            backward[row][t + 1] = rows[row][t]
    return torch.tensor(forward), torch.tensor(backward)


@right("bilm-targets")
def bilm_targets_by_padding(ids, lengths, ignore=-100):
    if lengths.min() <= 0 or lengths.max() > ids.shape[1]:
        raise ValueError("no such length")
    real = torch.arange(ids.shape[1]).expand_as(ids) < lengths.unsqueeze(1)
    known = torch.where(real, ids, ignore)
    forward = F.pad(known[:, 1:], (0, 1), value=ignore)
    backward = torch.where(real, F.pad(known[:, :-1], (1, 0), value=ignore), ignore)
    return forward, backward


@right("bilm-targets")
def bilm_targets_in_numpy(ids, lengths, ignore=-100):
    given, ends = ids.numpy(), lengths.numpy()
    if np.any((ends < 1) | (ends > given.shape[1])):
        raise ValueError("no such length")
    forward, backward = np.full_like(given, ignore), np.full_like(given, ignore)
    for row, end in enumerate(ends):
        forward[row, : end - 1] = given[row, 1:end]
        backward[row, 1:end] = given[row, : end - 1]
    return torch.from_numpy(forward).int(), torch.from_numpy(backward).int()


@right("probe-scores")
def probe_scores_with_a_column_of_ones(layers, labels, folds, penalty):
    if (folds == folds[0]).all():
        raise ValueError("one fold")
    wanted = torch.eye(int(labels.max()) + 1, dtype=layers.dtype)[labels]
    ridge = penalty * torch.eye(layers.shape[2] + 1, dtype=layers.dtype)
    ridge[-1, -1] = 0  # the intercept
    every = []
    for layer in layers:
        x = torch.cat([layer, torch.ones(len(layer), 1, dtype=layer.dtype)], dim=1)
        scores = torch.empty(len(layer), wanted.shape[1], dtype=layers.dtype)
        for fold in set(folds.tolist()):
            train, test = x[folds != fold], x[folds == fold]
            weights = torch.linalg.inv(train.T @ train + ridge) @ (train.T @ wanted[folds != fold])
            scores[folds == fold] = test @ weights
        every.append(scores)
    return torch.stack(every)


@right("probe-scores")
def probe_scores_in_numpy_by_kernels(layers, labels, folds, penalty):
    given, label, fold_of = layers.numpy(), labels.numpy(), folds.numpy()
    if len(np.unique(fold_of)) == 1:
        raise ValueError("one fold")
    wanted = (label[:, None] == np.arange(label.max() + 1)).astype(given.dtype)
    scores = np.zeros((len(given), *wanted.shape), dtype=given.dtype)
    for j, layer in enumerate(given):
        for fold in np.unique(fold_of):
            out = fold_of == fold
            mean, base = layer[~out].mean(axis=0), wanted[~out].mean(axis=0)
            x = layer[~out] - mean
            dual = np.linalg.solve(x @ x.T + penalty * np.eye(len(x)), wanted[~out] - base)
            scores[j, out] = (layer[out] - mean) @ x.T @ dual + base
    return scores


@right("probe-scores")
def probe_scores_by_least_squares(layers, labels, folds, penalty):
    if folds.min() == folds.max():
        raise ValueError("one fold")
    wanted = F.one_hot(labels).to(layers)
    scores = layers.new_full((*layers.shape[:2], wanted.shape[1]), torch.nan)
    for fold in folds.unique().tolist():
        train, test = (folds != fold).nonzero().flatten(), (folds == fold).nonzero().flatten()
        for j in range(len(layers)):
            x, y = layers[j, train], wanted[train]
            wide = torch.cat([x - x.mean(0), penalty**0.5 * torch.eye(x.shape[1], dtype=x.dtype)])
            tall = torch.cat([y - y.mean(0), y.new_zeros(x.shape[1], y.shape[1])])
            weights = torch.linalg.lstsq(wide, tall).solution
            intercept = y.mean(0) - x.mean(0) @ weights
            scores[j, test] = layers[j, test] @ weights + intercept
    return scores


# Chapter 03


@right("layer-rate")
def layer_rate_by_interpolation(t, total, depth, peak, cut_frac=0.1, ratio=32, factor=2.6):
    if t not in range(total):
        raise ValueError("no such update")
    cut = max(1, math.floor(total * cut_frac))
    return np.interp(t, [0, cut, total], [peak / ratio, peak, peak / ratio]) * factor**-depth


@right("layer-rate")
def layer_rate_by_slopes(t, total, depth, peak, cut_frac=0.1, ratio=32, factor=2.6):
    if t < 0 or t >= total:
        raise ValueError("no such update")
    cut = int(total * cut_frac) or 1
    lowest = peak / ratio
    rate = lowest + (peak - lowest) * min(t / cut, 1 - (t - cut) / (total - cut))
    for _ in range(depth):
        rate /= factor
    return rate


@right("layer-rate")
def layer_rate_in_torch(t, total, depth, peak, cut_frac=0.1, ratio=32, factor=2.6):
    cut = max(int(total * cut_frac), 1)
    rates = torch.cat([torch.linspace(1 / ratio, 1, cut + 1)[:-1], torch.linspace(1, 1 / ratio, total - cut + 1)[:-1]])
    if not 0 <= t < len(rates):
        raise ValueError("no such update")
    return peak * rates[t] / torch.tensor(factor).pow(depth)


@right("pool-chunks")
def pool_chunks_text_by_text(chunks):
    pooled = []
    for text in range(len(chunks[0][0])):
        last = highest = total = None
        count = 0
        for hidden, mask in chunks:
            for state, real in zip(hidden[text], mask[text].tolist(), strict=True):
                if real:
                    last = state
                    highest = state if highest is None else torch.maximum(highest, state)
                    total = state if total is None else total + state
                    count += 1
        if count == 0:
            raise ValueError("an empty text")
        pooled.append(torch.cat([last, highest, total / count]))
    return torch.stack(pooled)


@right("pool-chunks")
def pool_chunks_by_flags(chunks):
    counts = sum(mask.sum(1) for _, mask in chunks)
    if not counts.all():
        raise ValueError("an empty text")
    last, total, highest, seen = 0.0, 0.0, [], 0
    for hidden, mask in chunks:
        steps = seen + mask.cumsum(1)
        seen = steps[:, -1:]
        ends = mask & (steps == counts[:, None])
        last = last + (hidden * ends[..., None]).sum(1)
        total = total + torch.einsum("btd,bt->bd", hidden, mask.to(hidden.dtype))
        highest.append(torch.where(mask[..., None], hidden, -math.inf).max(dim=1).values)
    return torch.hstack([last, torch.stack(highest).amax(0), total / counts[:, None]])


@right("pool-chunks")
def pool_chunks_in_double_precision(chunks):
    texts, units = chunks[0][0].shape[0], chunks[0][0].shape[2]
    last: list[Any] = [None] * texts
    highest, mean = torch.full((texts, units), -torch.inf, dtype=torch.float64), [0.0] * texts
    count = [0] * texts
    for hidden, mask in chunks:
        for b in range(texts):
            if n := int(mask[b].sum()):
                states = hidden[b][mask[b]].double()
                last[b] = states[-1]
                highest = highest.index_put((torch.tensor([b]),), torch.maximum(highest[b], states.amax(0))[None])
                mean[b] = (mean[b] * count[b] + n * states.mean(0)) / (count[b] + n)
                count[b] += n
    if 0 in count:
        raise ValueError("an empty text")
    return torch.cat([torch.stack(last), highest, torch.stack(mean)], dim=-1)


@right("labels-worth")
def labels_worth_in_a_loop(labels, accuracy, reached):
    if len(labels) != len(accuracy):
        raise ValueError("lengths")
    for i in range(1, len(labels)):
        if labels[i] <= labels[i - 1]:
            raise ValueError("labels")
    best, before = -math.inf, None
    for count, here in zip(labels, accuracy, strict=True):
        if here >= reached:
            if before is None:
                return count
            share = (reached - best) / (here - best)
            return before * (count / before) ** share
        best, before = max(best, here), count
    return math.inf


@right("labels-worth")
def labels_worth_by_bisection(labels, accuracy, reached):
    if len(labels) != len(accuracy) or sorted(set(labels)) != labels:
        raise ValueError("no curve")
    best = list(accumulate(accuracy, max))
    i = bisect.bisect_left(best, reached)
    if i in (0, len(best)):
        return float(labels[0]) if i == 0 else float("inf")
    share = (reached - best[i - 1]) / (best[i] - best[i - 1])
    return math.exp((1 - share) * math.log(labels[i - 1]) + share * math.log(labels[i]))


@right("labels-worth")
def labels_worth_in_torch(labels, accuracy, reached):
    if len(labels) != len(accuracy) or any(np.diff(labels) <= 0):
        raise ValueError("no curve")
    best, logs = torch.tensor(accuracy, dtype=torch.float64).cummax(0).values, torch.tensor(labels).double().log()
    reaching = (best >= reached).nonzero()
    if len(reaching) == 0:
        return torch.tensor(torch.inf)
    i = int(reaching[0])
    if i == 0:
        return logs[0].exp()
    low, high = best[i - 1], best[i]
    return ((logs[i - 1] * (high - reached) + logs[i] * (reached - low)) / (high - low)).exp()


# Chapter 04


@right("packed-attention")
def packed_attention_in_loops(documents, causal):
    visible, positions = [], []
    for row in documents.tolist():
        texts = [number for number in row if number]
        if row[: len(texts)] != texts:
            raise ValueError
        visible.append(
            [[i == j or (0 != a == b and not (causal and j > i)) for j, b in enumerate(row)] for i, a in enumerate(row)]
        )
        positions.append([i - row.index(a) if a else 0 for i, a in enumerate(row)])
    return torch.tensor(visible)[:, None], torch.tensor(positions)


@right("packed-attention")
def packed_attention_in_numpy(documents, causal):
    ids = documents.numpy()
    width = ids.shape[1]
    lengths = (ids > 0).sum(axis=1)
    if any(row[:length].min(initial=1) == 0 for row, length in zip(ids, lengths, strict=True)):
        raise RefusedError("padding in the middle")
    same = (ids[:, :, None] == ids[:, None]) & (ids > 0)[:, None]
    visible = (np.tril(same) if causal else same) | np.eye(width, dtype=bool)
    positions = np.tril(same, -1).sum(axis=2)
    return torch.from_numpy(visible[:, None]), torch.from_numpy(positions)


@right("packed-attention")
def packed_attention_by_numbering_the_padding(documents, causal):
    steps = torch.arange(documents.shape[1]).expand_as(documents)
    padding = documents == 0
    if (padding.cummax(dim=1).values != padding).any():
        raise ValueError("padding")
    owner = torch.where(padding, -1 - steps, documents)
    visible = owner[:, None, :, None] == owner[:, None, None, :]
    if causal:
        visible = visible.tril()
    first = (owner[:, :, None] == owner[:, None, :]).int().argmax(dim=2)
    return visible, steps - first


@right("best-span")
def best_span_in_loops(start, end, context, max_length, threshold):
    pieces = context.nonzero().flatten().tolist()
    if max_length < 1 or not pieces:
        raise ValueError
    best, found = -math.inf, None
    for i in pieces:
        for j in range(i, min(i + max_length, pieces[-1] + 1)):
            if (score := float(start[i] + end[j])) > best:
                best, found = score, (i, j)
    return found if best > float(start[0] + end[0]) + threshold else None


@right("best-span")
def best_span_in_numpy(start, end, context, max_length, threshold):
    if max_length < 1 or not context.any():
        raise RefusedError("nothing can be an answer")
    offset = int(context.int().argmax())
    s, e = start[context].double().numpy(), end[context].double().numpy()
    band = np.tril(np.triu(np.ones((len(s), len(s)), dtype=bool)), max_length - 1)
    table = np.where(band, s[:, None] + e[None], -np.inf)
    i, j = np.unravel_index(table.argmax(), table.shape)
    if table[i, j] - float(start[0]) - float(end[0]) <= threshold:
        return None
    return int(i) + offset, int(j) + offset


@right("best-span")
def best_span_by_the_best_end_of_each_start(start, end, context, max_length, threshold):
    if max_length < 1:
        raise ValueError("no piece allowed")
    ends = torch.where(context, end, -math.inf)
    spans = []
    for i in torch.where(context)[0].tolist():
        reach = ends[i : i + max_length]
        spans.append((float(start[i]) + float(reach.max()), -i, -(i + int(reach.argmax()))))
    score, i, j = max(spans)  # raises ValueError where there is no paragraph
    return (-i, -j) if score > float(start[0]) + float(end[0]) + threshold else None


@right("whole-word-masking")
def mask_whole_words_in_lists(ids, words, lots, fate, others, mask_id, rate=0.15, hide=0.8, swap=0.1, ignore=-100):
    if rate <= 0 or rate >= 1:
        raise ValueError
    corrupted, labels = ids.tolist(), [[ignore] * len(row) for row in ids]
    for b, owners in enumerate(words.tolist()):
        budget = max(1, round(rate * sum(word >= 0 for word in owners)))
        for word in sorted({word for word in owners if word >= 0}, key=lots[b].tolist().__getitem__):
            places = [t for t, owner in enumerate(owners) if owner == word]
            if len(places) > budget:
                continue
            budget -= len(places)
            for t in places:
                labels[b][t] = int(ids[b, t])
                if fate[b, t] < hide:
                    corrupted[b][t] = mask_id
                elif fate[b, t] < hide + swap:
                    corrupted[b][t] = int(others[b, t])
    return torch.tensor(corrupted), torch.tensor(labels)


@right("whole-word-masking")
def mask_whole_words_by_counting_pieces_first(
    ids, words, lots, fate, others, mask_id, rate=0.15, hide=0.8, swap=0.1, ignore=-100
):
    if not 0 < rate < 1:
        raise RefusedError(rate)
    chosen = torch.zeros_like(ids, dtype=torch.bool)
    for b in range(len(ids)):
        inside = words[b] >= 0
        sizes = torch.bincount(words[b][inside], minlength=lots.shape[1])
        left = max(1, round(rate * inside.sum().item()))
        for word in np.argsort(lots[b].numpy()):
            if 0 < sizes[word] <= left:
                left -= int(sizes[word])
                chosen[b] |= words[b] == int(word)
    labels = torch.where(chosen, ids, ignore)
    fates = torch.bucketize(fate.double(), torch.tensor([hide, hide + swap], dtype=torch.float64), right=True)
    outcome = torch.stack([torch.full_like(ids, mask_id), others, ids])
    return torch.where(chosen, outcome.gather(0, fates[None])[0], ids), labels


# Chapter 05


@right("no-repeats")
def ban_repeats_in_loops(logits, tokens, n):
    if n < 1:
        raise ValueError
    rows = []
    for own, written in zip(logits.tolist(), tokens.tolist(), strict=True):
        grams = {tuple(written[i : i + n]) for i in range(len(written) - n + 1)}
        end = written[len(written) - n + 1 :] if n > 1 else []
        rows.append([-math.inf if (*end, token) in grams else value for token, value in enumerate(own)])
    return torch.tensor(rows, dtype=logits.dtype)


@right("no-repeats")
def ban_repeats_by_what_followed_each_beginning(logits, tokens, n):
    if n <= 0:
        raise RefusedError(n)
    banned = torch.zeros(logits.shape, dtype=torch.bool)
    for row, written in enumerate(tokens.tolist()):
        followed: dict[tuple[int, ...], list[int]] = {}
        for end in range(n, len(written) + 1):
            *begin, last = written[end - n : end]
            followed.setdefault(tuple(begin), []).append(last)
        end = tuple(reversed(written[::-1][: n - 1]))
        banned[row, followed.get(end, [])] = True
    return logits.masked_fill(banned, -math.inf)


@right("no-repeats")
def ban_repeats_in_numpy(logits, tokens, n):
    if not n >= 1:
        raise ValueError("n")
    written, banned = tokens.numpy(), logits.numpy().copy()
    length = written.shape[1]
    for start in range(length - n + 1):
        alike = np.ones(len(written), dtype=bool)
        for step in range(n - 1):
            alike &= written[:, start + step] == written[:, length - n + 1 + step]
        banned[alike, written[alike, start + n - 1]] = -np.inf
    return banned


@right("limit-for-share")
def limit_for_share_by_bisection(sizes, share):
    share *= 1 - 1e-9
    values = list(sizes.values())

    def reached(limit):
        return min(values) / sum(min(size, limit) for size in values) >= share

    if not reached(min(values)):
        raise ValueError
    if reached(math.inf):
        return math.inf
    low, high = min(values), max(values)
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if reached(middle) else (low, middle)
    return low


@right("limit-for-share")
def limit_for_share_as_the_highest_of_all_lines(sizes, share):
    values = np.sort(np.array(list(sizes.values()), dtype=float))
    if share > (1 + 1e-7) / len(values):
        raise RefusedError(share)
    if values[0] / values.sum() > share * (1 - 1e-7):
        return np.inf
    below = np.concatenate([[0.0], values.cumsum()[:-1]])
    return ((values[0] / share - below) / np.arange(len(values), 0, -1)).max()


@right("limit-for-share")
def limit_for_share_between_the_sums_at_each_size(sizes, share):
    points = sorted(set(sizes.values()))
    sums = [sum(min(size, point) for size in sizes.values()) for point in points]
    wanted = points[0] / share
    if math.isclose(wanted, sums[-1], rel_tol=1e-8) or wanted > sums[-1]:
        return math.inf
    if math.isclose(wanted, sums[0], rel_tol=1e-8):
        return float(points[0])
    if wanted < sums[0]:
        raise ValueError("too much")
    return torch.tensor(np.interp(wanted, sums, points))


@right("limit-for-share")
def limit_for_share_in_fractions(sizes, share):
    values = sorted(map(Fraction, sizes.values()))
    room = values[0] / Fraction(share) * (1 + Fraction(1, 10**8))
    if room < len(values) * values[0]:
        raise ValueError
    while values and room >= len(values) * values[0]:
        room -= values.pop(0)
    return float(room / len(values)) if values else math.inf


@right("corrupt-rows")
def corrupt_rows_in_loops(ids, mask, first_sentinel, eos, pad):
    sides = [], []
    for tokens, gone in zip(ids.tolist(), mask.tolist(), strict=True):
        inputs, targets, spans, inside = [], [], 0, False
        for token, masked in zip(tokens, gone, strict=True):
            if token == pad and masked:
                raise ValueError
            if token == pad:
                continue
            if masked and not inside:
                inputs.append(first_sentinel - spans)
                targets.append(first_sentinel - spans)
                spans += 1
            (targets if masked else inputs).append(token)
            inside = masked
        sides[0].append([*inputs, eos])
        sides[1].append([*targets, eos])
    widths = [max(map(len, side)) for side in sides]
    return [
        torch.tensor([row + [pad] * (width - len(row)) for row in side])
        for side, width in zip(sides, widths, strict=True)
    ]


@right("corrupt-rows")
def corrupt_rows_by_groups(ids, mask, first_sentinel, eos, pad):
    lengths = (ids != pad).sum(dim=1).tolist()
    if any(mask[row, length:].any() for row, length in enumerate(lengths)):
        raise RefusedError("padding")
    inputs, targets = [], []
    for row, length in enumerate(lengths):
        names, own = iter(range(first_sentinel, first_sentinel - length, -1)), ([], [])
        for gone, run in groupby(range(length), key=mask[row].tolist().__getitem__):
            run = ids[row, list(run)].tolist()
            name = [next(names)] if gone else []
            own[0].extend(name or run)
            own[1].extend(name + run if gone else [])
        inputs.append(torch.tensor([*own[0], eos]))
        targets.append(torch.tensor([*own[1], eos]))
    return tuple(nn.utils.rnn.pad_sequence(side, batch_first=True, padding_value=pad) for side in (inputs, targets))


@right("corrupt-rows")
def corrupt_rows_by_sorting(ids, mask, first_sentinel, eos, pad):
    ids, mask = F.pad(ids, (0, 1), value=pad), F.pad(mask, (0, 1))
    real = ids != pad
    if bool((mask > real).any()):
        raise ValueError("padding")
    last = F.one_hot(real.sum(dim=1), ids.shape[1]).bool()
    ids = ids.masked_fill(last, eos)
    first = mask.int().diff(dim=1, prepend=torch.zeros(len(ids), 1, dtype=torch.int)) == 1
    sentinels = first_sentinel - (first.cumsum(1) - 1)
    inputs = torch.where(first, sentinels, ids).masked_fill(mask & ~first, pad)
    targets = torch.stack([sentinels.where(first, pad), ids.where(mask | last, pad)], dim=2).flatten(1)
    sides = []
    for side, kept in ((inputs, (real | last) & (~mask | first)), (targets, targets != pad)):
        order = kept.logical_not().int().argsort(dim=1, stable=True)
        sides.append(side.gather(1, order)[:, : int(kept.sum(dim=1).max())])
    return tuple(sides)


@right("corrupt-rows")
def corrupt_rows_in_numpy(ids, mask, first_sentinel, eos, pad):
    ids, mask = ids.numpy(), mask.numpy()
    if ((ids == pad) & mask).any():
        raise ValueError("padding")
    sides = []
    for wanted in (False, True):
        rows = []
        for text, gone in zip(ids, mask, strict=True):
            starts = np.flatnonzero(gone & ~np.insert(gone, 0, False)[:-1])
            keep = (text != pad) & (gone == wanted)
            places = np.concatenate([np.flatnonzero(keep), starts - 0.5])
            tokens = np.concatenate([text[keep], first_sentinel - np.arange(len(starts))])
            rows.append(np.append(tokens[places.argsort()], eos))
        width = max(map(len, rows))
        sides.append(np.stack([np.pad(row, (0, width - len(row)), constant_values=pad) for row in rows]))
    return sides


# Chapter 06


@right("whole-words")
def whole_words_word_by_word(ids, words, room, head):
    if head < 0 or head > room or len(ids) != len(words):
        raise RefusedError
    if len(ids) <= room:
        return ids[:]
    grouped = [[piece for piece, _ in group] for _, group in groupby(zip(ids, words, strict=True), key=lambda x: x[1])]
    kept, first = [], 0
    while first < len(grouped) and len(kept) + len(grouped[first]) <= head:
        kept += grouped[first]
        first += 1
    tail, last = [], len(grouped)
    while last > first and len(kept) + len(tail) + len(grouped[last - 1]) <= room:
        last -= 1
        tail = grouped[last] + tail
    return kept + tail


@right("whole-words")
def whole_words_by_counting_back(ids, words, room, head):
    if not (0 <= head <= room and len(ids) == len(words)):
        raise ValueError("cut")
    if len(ids) <= room:
        return list(ids)
    stop = head
    while stop > 0 and stop < len(ids) and words[stop] == words[stop - 1]:
        stop -= 1
    start = len(ids) - (room - stop)
    while start < len(ids) and start > 0 and words[start] == words[start - 1]:
        start += 1
    return [*ids[:stop], *ids[start:]]


@right("layer-rates")
def rates_by_name_from_the_top(names, num_layers, base, xi):
    if xi <= 0 or xi > 1:
        raise ValueError("xi")
    ladder = list(accumulate([xi] * num_layers, lambda rate, factor: rate * factor, initial=base))
    rates = {}
    for name in names:
        parts = name.split(".")
        if parts[0] == "embeddings" and len(parts) > 1:
            rate = ladder[-1]
        elif parts[0] in {"pooler", "classifier"} and len(parts) > 1:
            rate = base
        elif parts[:2] == ["encoder", "layer"] and len(parts) > 3 and parts[2] in map(str, range(num_layers)):
            rate = ladder[num_layers - 1 - int(parts[2])]
        else:
            raise RefusedError(name)
        rates[name] = rate
    if len(rates) < len(names):
        raise ValueError("twice")
    return rates


@right("layer-rates")
def rates_by_name_by_prefixes(names, num_layers, base, xi):
    if not (xi > 0 and xi <= 1) or len(set(names)) != len(names):
        raise ValueError
    places = {f"encoder.layer.{layer}.": layer + 1 for layer in range(num_layers)}
    places |= {"embeddings.": 0, "pooler.": num_layers, "classifier.": num_layers}

    def place(name):
        fitting = [depth for prefix, depth in places.items() if name.startswith(prefix)]
        if not fitting:
            raise ValueError(name)
        return fitting[0]

    return {name: base * xi ** (num_layers - place(name)) for name in names}


@right("layer-accuracies")
def layer_accuracies_in_loops(hidden, labels, folds, penalty):
    if not penalty > 0 or len(set(folds.tolist())) == 1:
        raise RefusedError
    classes = sorted(set(labels.tolist()))
    found = []
    for layer in hidden.numpy().astype(np.float64):
        hits = 0
        for fold in sorted(set(folds.tolist())):
            known = folds.numpy() != fold
            y = np.array([[float(label == k) for k in classes] for label in labels.tolist()])
            x, mean, prior = layer[known], layer[known].mean(0), y[known].mean(0)
            weights = np.linalg.inv((x - mean).T @ (x - mean) + penalty * np.eye(x.shape[1])) @ (x - mean).T
            scores = (layer[~known] - mean) @ (weights @ (y[known] - prior)) + prior
            hits += sum(classes[k] == label for k, label in zip(scores.argmax(1), labels[~known].tolist(), strict=True))
        found.append(hits / len(labels))
    return torch.tensor(found, dtype=torch.float32)


@right("layer-accuracies")
def layer_accuracies_by_kernels(hidden, labels, folds, penalty):
    groups = folds.unique()
    if penalty <= 0 or groups.numel() < 2:
        raise ValueError("no")
    classes = labels.unique()
    y = (labels[:, None] == classes).double()
    right_ones = torch.zeros(hidden.shape[:2], dtype=torch.bool)
    for group in groups.tolist():
        known, out = torch.nonzero(folds != group)[:, 0], torch.nonzero(folds == group)[:, 0]
        for number, states in enumerate(hidden.double()):
            x, prior = states - states[known].mean(dim=0), y[known].mean(dim=0)
            kernel = x[known] @ x[known].T + penalty * torch.eye(len(known), dtype=torch.float64)
            scores = x[out] @ x[known].T @ torch.linalg.solve(kernel, y[known] - prior) + prior
            right_ones[number, out] = classes[scores.argmax(dim=1)] == labels[out]
    return right_ones.float().mean(dim=1)


@right("attend-windows")
def attend_windows_text_by_text(vectors, text, query, num_texts):
    if any(not 0 <= number < num_texts for number in text.tolist()):
        raise RefusedError
    rows = []
    for number in range(num_texts):
        own = vectors[text == number]
        rows.append((own @ query).softmax(dim=0) @ own if len(own) else 0 * vectors.sum(dim=0) + 0 * query)
    return torch.stack(rows)


@right("attend-windows")
def attend_windows_with_a_mask(vectors, text, query, num_texts):
    if (text < 0).any() or (text >= num_texts).any():
        raise ValueError
    own = text == torch.arange(num_texts)[:, None]
    scores = torch.where(own, vectors @ query, torch.finfo(torch.float32).min)
    if len(text) == 0:
        return torch.zeros(num_texts, vectors.shape[1]) + vectors.sum(0) + 0 * query
    return (scores.softmax(dim=1) * own) @ vectors


# Chapter 08


@right("first-counted")
def first_counted_by_the_inverse(probability, total, num_classes, schedule):
    alpha = (probability - 1 / num_classes) / (1 - 1 / num_classes) - 2e-8
    if schedule == "log":
        share = -math.log(1 - alpha) / 5 if alpha < 1 else math.inf
    elif schedule == "linear":
        share = alpha
    elif schedule == "exp":
        share = 1 + math.log(alpha) / 5 if alpha > 0 else -math.inf
    else:
        raise ValueError(schedule)
    if share == -math.inf:
        return 0
    if share == math.inf:
        return None
    first = max(0, math.ceil(share * total - 1e-12))
    return first if first < total else None


@right("first-counted")
def first_counted_all_at_once(probability, total, num_classes, schedule):
    share = np.arange(total, dtype=float) / total
    if schedule == "log":
        alpha = -np.expm1(-5 * share)
    elif schedule == "linear":
        alpha = share
    elif schedule == "exp":
        alpha = np.exp(-5 * (1 - share))
    else:
        raise RefusedError(schedule)
    counts = probability - 1e-8 <= alpha + (1 - alpha) / num_classes
    return int(counts.argmax()) if counts.any() else None


@right("first-counted")
def first_counted_by_bisection(probability, total, num_classes, schedule):
    if schedule not in ["exp", "linear", "log"]:
        raise ValueError
    curve = {
        "log": lambda x: 1 - math.e ** (-5 * x),
        "linear": lambda x: x,
        "exp": lambda x: math.e ** (5 * x - 5),
    }[schedule]

    def threshold(update):
        return 1 / num_classes + curve(update / total) * (num_classes - 1) / num_classes

    found = bisect.bisect_left(range(total), probability - 1e-8, key=threshold)
    return None if found == total else found


@right("several-labels")
def consistency_of_labels_written_out(z_original, z_augmented, tau, beta):
    if not tau > 0:
        raise ValueError("tau")
    z = z_original.detach()
    counts = (z.abs().sigmoid() > beta).to(z)
    q = torch.sigmoid(z / tau)
    losses = -(q * F.logsigmoid(z_augmented) + (1 - q) * F.logsigmoid(-z_augmented))
    return (losses * counts).sum() / z.numel()


@right("several-labels")
def consistency_of_labels_in_loops(z_original, z_augmented, tau, beta):
    if tau <= 0:
        raise RefusedError
    total, target = 0.0 * z_augmented.sum(), z_original.detach()
    for z, answer in zip(target.flatten(), z_augmented.flatten(), strict=True):
        if max(z.sigmoid(), (-z).sigmoid()) > beta:
            total = total + F.softplus(answer) - (z / tau).sigmoid() * answer
    return total / z_original.numel()


@right("several-labels")
def consistency_of_labels_as_two_classes(z_original, z_augmented, tau, beta):
    if tau <= 0:
        raise ValueError
    with torch.no_grad():
        both = torch.stack([z_original, torch.zeros_like(z_original)], dim=-1)
        weight = (both.softmax(-1).amax(-1) > beta).float()
        target = (both / tau).softmax(-1)
    answers = torch.stack([z_augmented, torch.zeros_like(z_augmented)], dim=-1).log_softmax(-1)
    return (-(target * answers).sum(-1) * weight).mean()


@right("exact-share")
def exact_probabilities_by_bisection(tf_idf, p):
    if p < 0 or p > 1:
        raise ValueError(p)
    top, n = max(tf_idf), len(tf_idf)
    gaps = [top - value for value in tf_idf]
    if sum(gap > 0 for gap in gaps) <= p * n + 1e-12:
        return [1.0 if gap > 0 else 0.0 for gap in gaps]
    low, high = 0.0, 2.0 / min(gap for gap in gaps if gap > 0)
    for _ in range(200):
        middle = (low + high) / 2
        if sum(min(middle * gap, 1) for gap in gaps) < p * n:
            low = middle
        else:
            high = middle
    return [min(high * gap, 1.0) if p > 0 else 0.0 for gap in gaps]


@right("exact-share")
def exact_probabilities_by_cutting_again_and_again(tf_idf, p):
    if not (p >= 0 and p <= 1):
        raise RefusedError(p)
    gaps = np.max(tf_idf) - np.asarray(tf_idf)
    found, free = np.zeros(len(gaps)), gaps > 0
    left = p * len(gaps)
    if left >= free.sum():
        return [float(word) for word in free]
    while True:
        shares = left * gaps[free] / gaps[free].sum()
        if (shares <= 1 + 1e-12).all():
            found[free] = shares
            return list(map(float, found))
        cut = np.flatnonzero(free)[shares > 1]
        found[cut], free[cut] = 1.0, False
        left -= len(cut)


# Chapter 11


@right("mixed-adapters")
def adapt_mixed_row_by_row(h, task, down, down_bias, up, up_bias):
    rows = []
    for row, own in zip(h, task.tolist(), strict=True):
        if not -1 <= own < len(down):
            raise RefusedError(own)
        if own >= 0:
            row = row + F.linear(F.gelu(F.linear(row, down[own], down_bias[own])), up[own], up_bias[own])
        rows.append(row)
    return torch.stack(rows)


@right("mixed-adapters")
def adapt_mixed_task_by_task(h, task, down, down_bias, up, up_bias):
    if task.min() < -1 or task.max() >= down.shape[0]:
        raise ValueError("no such task")
    adapted = h.clone()
    for own in range(down.shape[0]):
        u = h @ down[own].T + down_bias[own]
        change = (u * (1 + torch.erf(u / math.sqrt(2))) / 2) @ up[own].T + up_bias[own]
        adapted = torch.where((task == own)[:, None, None], h + change, adapted)
    return adapted


@right("mixed-adapters")
def adapt_mixed_with_one_more_task_that_does_nothing(h, task, down, down_bias, up, up_bias):
    known = torch.arange(-1, len(down))
    if not torch.isin(task, known).all():
        raise ValueError("no such task")
    down, down_bias, up, up_bias = (
        torch.cat([part, torch.zeros_like(part[:1])]) for part in (down, down_bias, up, up_bias)
    )
    inner = F.gelu(torch.einsum("btd,bmd->btm", h, down[task]) + down_bias[task, None])
    return h + torch.einsum("btm,bdm->btd", inner, up[task]) + up_bias[task, None]


@right("fold-linear")
def fold_linear_as_products_of_matrices(weight, bias, adapters):
    out = weight.shape[0]
    bias = weight.new_zeros(out) if bias is None else bias
    for down, down_bias, up, up_bias in adapters:
        if down.shape[1] != out:
            raise RefusedError("width")
        through = torch.eye(out) + up @ down
        weight, bias = through @ weight, through @ bias + up @ down_bias + up_bias
    return weight.clone(), bias.clone()


@right("fold-linear")
def fold_linear_by_asking_for_unit_vectors(weight, bias, adapters):
    if any(len(weight) != down.size(-1) for down, *_ in adapters):
        raise ValueError("width")
    x = torch.cat([torch.zeros(1, weight.size(1)), torch.eye(weight.size(1))])
    h = x @ weight.T + (0 if bias is None else bias)
    for down, down_bias, up, up_bias in adapters:
        h = h + F.linear(F.linear(h, down, down_bias), up, up_bias)
    return (h[1:] - h[0]).T, h[0]


@right("fold-linear")
def fold_linear_with_the_bias_as_a_column(weight, bias, adapters):
    column = np.zeros(len(weight)) if bias is None else bias.numpy()
    both = np.column_stack([weight.numpy(), column]).astype(np.float64)
    for down, down_bias, up, up_bias in adapters:
        if down.shape[1] != len(both):
            raise ValueError("width")
        inner = down.double().numpy() @ both
        inner[:, -1] += down_bias.numpy()
        both = both + up.double().numpy() @ inner
        both[:, -1] += up_bias.numpy()
    return both[:, :-1], both[:, -1]


@right("rank-of-change")
def rank_of_change_one_rank_after_the_other(before, after, share):
    if share <= 0 or share >= 1:
        raise RefusedError(share)
    changes = [np.linalg.svd(layer.double().numpy(), full_matrices=False) for layer in after - before]
    total = sum((s**2).sum() for _, s, _ in changes)
    rank, kept = 0, 0.0
    while kept < share * total:
        kept += sum(s[rank] ** 2 for _, s, _ in changes)
        rank += 1
    nearest = [(u[:, :rank] * s[:rank]) @ vt[:rank] for u, s, vt in changes]
    return rank, before + torch.tensor(np.stack(nearest), dtype=before.dtype)


@right("rank-of-change")
def rank_of_change_by_what_is_left(before, after, share):
    if not 0.0 < share < 1.0:
        raise ValueError("share")
    change = (after - before).double()
    total = change.square().sum()
    u, s, vt = torch.linalg.svd(change)
    rank, nearest = 0, torch.zeros_like(change)
    while (change - nearest).square().sum() > (1 - share) * total:
        rank += 1
        some = torch.diag_embed(torch.where(torch.arange(s.size(1)) < rank, s, 0.0))
        nearest = u[..., : s.size(1)] @ some @ vt[..., : s.size(1), :]
    return rank, (before + nearest).float()


@right("rank-of-change")
def rank_of_change_by_projection_on_directions(before, after, share):
    if share <= 0:
        raise ValueError("too little")
    if share >= 1:
        raise ValueError("too much")
    change = (after - before).double()
    values, directions = torch.linalg.eigh(change.mT @ change)
    values, directions = values.flip(-1), directions.flip(-1)
    kept = values.clamp(min=0).sum(0).cumsum(0)
    rank = int(torch.searchsorted(kept, share * kept[-1])) + 1 if bool((change != 0).any()) else 0
    own = directions[..., :rank]
    return rank, (before + change @ own @ own.mT).to(before.dtype)
