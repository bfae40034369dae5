"""Changes to the reference solutions that the grader cannot reject, and why: the lines as `mutation.py` writes them."""

_TOLERANCE = "Only a share that is off by about one part in 10^9 can tell, and the docstring says that there is none."
_BETWEEN = "No probability lies between 1e-9 and 1e-7 above a threshold."
_LEFT_EARLIER = "The last gap is 0, so the loop is left at the last but one at the latest: something else has a gap."
# No input that the docstring allows can tell these from the reference. They do not count.
EQUIVALENT: dict[str, list[tuple[str, str]]] = {
    "gain-weights": [
        ("if not mask.any(dim=-1).all():", "A mask [B, T] has two axes: the last one is axis 1."),
        ("step = mask.cumsum(dim=-1)", "A mask [B, T] has two axes: the last one is axis 1."),
        (
            "weights = torch.where(mask, step ** power, 0.0)",
            "An int tensor to the power of a float is a float tensor with the same numbers.",
        ),
        (
            "weights = torch.where(mask, step.int() ** power, 0.0)",
            "An int tensor to the power of a float is a float tensor with the same numbers.",
        ),
        ("return weights / weights.sum(dim=-1, keepdim=True)", "The weights [B, T] have two axes, too."),
    ],
    "reversed-batch": [
        (
            "if min((len(x) for x in sequences)) == 0:",
            "`min` of nothing raises the ValueError that is asked for.",
        ),
        (
            "if not sequences or min((len(x) for x in sequences)) <= 0:",
            "No length of a list is below 0.",
        ),
    ],
    "carry-over": [
        (
            "if weights.shape != (len(old), fresh.size(-1)) or len(fresh) != len(new):",
            "`fresh` has two axes: the last one is axis 1.",
        ),
        ("rows.append(weights[alike[-1]])", "The list has one item here: the first is the last."),
    ],
    "scalar-mix": [
        ("real = mask[None, :, :, None]", "A float tensor times a bool tensor is the same product."),
        ("real = mask[None, :, :, None].to()", "A float tensor times a bool tensor is the same product."),
        ("real = mask[None, :, :, None].to(mask.dtype)", "A float tensor times a bool tensor is the same product."),
        (
            "real = mask[None, :, :, None].to(w.dtype)",
            "0 and 1 are exact in every floating type, and the shares bring the type of w into the result anyway.",
        ),
        ("real = mask[:, :, None].to(layers.dtype)", "Broadcasting puts the missing first axis there."),
        (
            "mean = (layers * real).sum(dim=(1, -2, 3), keepdim=True) / count",
            "The layers have four axes: the last but one is axis 2.",
        ),
        (
            "spread = ((layers - mean) * real).square().sum(dim=(1, -2, 3), keepdim=True) / count",
            "The layers have four axes: the last but one is axis 2.",
        ),
        (
            "spread = ((mean - layers) * real).square().sum(dim=(1, 2, 3), keepdim=True) / count",
            "A difference and its negative have the same square.",
        ),
        ("shares = torch.softmax(w, dim=-1)", "w has one axis: the last one is axis 0."),
    ],
    "bilm-targets": [
        ("steps = torch.arange(ids.size(-1))[None]", "ids has two axes: the last one is axis 1."),
        ("steps = torch.arange(ids.size(1))", "Broadcasting puts the missing first axis there."),
        (
            "if (lengths < 1).any() or (lengths > ids.size(-1)).any():",
            "ids has two axes: the last one is axis 1.",
        ),
        (
            "following, before = (ids.roll(-1, dims=-1), ids.roll(1, dims=1))",
            "ids has two axes: the last one is axis 1.",
        ),
        (
            "following, before = (ids.roll(-1, dims=1), ids.roll(1, dims=-1))",
            "ids has two axes: the last one is axis 1.",
        ),
        (
            "following, before = (ids.roll(-1), ids.roll(1, dims=1))",
            "Only the last column differs, and no length above T is allowed: it is always filled with `ignore`.",
        ),
        (
            "following, before = (ids.roll(-1, dims=1), ids.roll(1))",
            "Only the first column differs, and it is always filled with `ignore`.",
        ),
        (
            "backward = before.masked_fill((steps >= lengths[:, None]) ^ (steps == 0), ignore)",
            "Both are never true at once, since no length of 0 is allowed.",
        ),
        (
            "backward = before.masked_fill((steps >= lengths[:, None]) | (steps <= 0), ignore)",
            "No step is below 0, so that means the first one.",
        ),
    ],
    "probe-scores": [
        ("for fold in folds:", "A fold that comes again is scored again, with the same result."),
        (
            "scores = torch.ones(len(layers), len(labels), wanted.size(1), dtype=layers.dtype)",
            "Every item is in one of the folds, so every score is written.",
        ),
        (
            "scores = torch.zeros(len(layers), len(folds), wanted.size(1), dtype=layers.dtype)",
            "There are as many folds as labels: one for each item.",
        ),
        (
            "scores = torch.zeros(len(layers), len(labels), wanted.size(-1), dtype=layers.dtype)",
            "One-hot labels have two axes: the last one is axis 1.",
        ),
        (
            "weights = torch.linalg.solve(x.mT @ x + eye, x.mT @ (y + y_mean))",
            "The columns of x sum to 0, so a constant added to y drops out of the product.",
        ),
        (
            "weights = torch.linalg.solve(x.mT @ x + eye, x.mT @ y)",
            "The columns of x sum to 0, so a constant added to y drops out of the product.",
        ),
    ],
    "layer-rate": [("if t <= cut:", "At the cut itself both formulas give the share 1.")],
    "pool-chunks": [
        ("hidden, _ = chunks[-1]", "Only the numbers of texts and units are read from it, the same in every chunk."),
        (
            "last = hidden[:, 0]",
            "Each text has a real step, so what `last` starts from is replaced, and gets no gradient.",
        ),
        ("last = torch.ones_like(hidden[:, 0])", "Each text has a real step, so what `last` starts from is replaced."),
        ("last = torch.zeros_like(hidden[:, -1])", "A chunk's last step has the shape of its first one."),
        ("total = last", "It is a tensor of zeros, and nothing is changed in place."),
        ("count = last[:, :1]", "It is a tensor of zeros, and nothing is changed in place."),
        ("count = torch.zeros_like(last)", "Broadcasting: a count for each unit instead of one for all."),
        ("count = torch.zeros_like(last[:, :])", "Broadcasting: a count for each unit instead of one for all."),
        ("count = torch.zeros_like(last[:,])", "Broadcasting: a count for each unit instead of one for all."),
        ("count = torch.zeros_like(last[:1, :])", "Broadcasting, as adding the lengths makes a row for each text."),
        ("count = torch.zeros_like(last[:1,])", "Broadcasting, as adding the lengths makes a row for each text."),
        ("length = mask.sum(dim=-1)", "A mask [B, T] has two axes: the last one is axis 1."),
        ("at = length - 1", "-1 is a step, too, and what is read there is used only where the length is above 0."),
        (
            "at = (length - 1).clamp(min=-1)",
            "-1 is a step, too, and what is read there is used only where the length is above 0.",
        ),
        ("if (count <= 0).any():", "No count of steps is below 0."),
        (
            "return torch.cat([last, highest, total / count], dim=-1)",
            "The three parts have two axes: the last one is axis 1.",
        ),
    ],
    "labels-worth": [
        ("return labels[0]", "An int equals the float, and is allowed wherever a float is (PEP 484)."),
        ("return int(labels[0])", "An int equals the float, and is allowed wherever a float is (PEP 484)."),
        ("return np.exp(low + share * (high - low))", "NumPy's float64 is a float."),
        ("i = np.argmax(best >= reached)", "NumPy's integer is the same index."),
        ("i = round(np.argmax(best >= reached))", "Rounding an integer leaves it as it is."),
    ],
    "packed-attention": [
        (
            "steps, real = (torch.arange(documents.size(-1)), documents != 0)",
            "documents has two axes: the last one is axis 1.",
        ),
        ("steps, real = (torch.arange(documents.size(1)), documents > 0)", "Texts are numbered from 1."),
        ("changes = F.pad(documents.diff() != 0, (1, 0))", "documents has two axes: the last one is axis 1."),
        ("changes = F.pad(documents.diff(dim=-1) != 0, (1, 0))", "documents has two axes: the last one is axis 1."),
        ("begin = (steps * changes).cummax(dim=-1).values", "documents has two axes: the last one is axis 1."),
        (
            "visible = together & real.unsqueeze(2) | (steps.unsqueeze(1) == steps)",
            "Two positions with one number are both real or both padding.",
        ),
        (
            "visible = together & real.unsqueeze(-1) | (steps.unsqueeze(1) == steps)",
            "Two positions with one number are both real or both padding.",
        ),
        (
            "visible = together & real.unsqueeze(1) | (steps.unsqueeze(-1) == steps)",
            "steps has one axis: a new last one is axis 1.",
        ),
        ("visible &= steps.unsqueeze(-1) >= steps", "steps has one axis: a new last one is axis 1."),
    ],
    "best-span": [
        ("steps = torch.arange(len(end))", "start, end and context have one length."),
        ("steps = torch.arange(len(context))", "start, end and context have one length."),
        ("i, j = divmod(sums.argmax().item(), len(end))", "start, end and context have one length."),
        ("i, j = divmod(sums.argmax().item(), len(context))", "start, end and context have one length."),
        ("beyond = steps - steps.unsqueeze(-1)", "steps has one axis: a new last one is axis 1."),
        (
            "allowed = (beyond >= 0) & (beyond < max_length) & context & context.unsqueeze(-1)",
            "context has one axis: a new last one is axis 1.",
        ),
        (
            "sums = (start.unsqueeze(-1) + end).masked_fill(~allowed, -torch.inf)",
            "start has one axis: a new last one is axis 1.",
        ),
    ],
    "whole-word-masking": [
        ("labels = torch.full_like(words, ignore)", "ids, words and others have one shape and are all ints."),
        ("labels = torch.full_like(others, ignore)", "ids, words and others have one shape and are all ints."),
        ("for row, order in enumerate(lots.argsort(dim=1)):", "A tensor of one number compares as the number does."),
        ("for row, order in enumerate(lots.argsort().tolist()):", "lots has two axes, and the last is the default."),
        ("for row, order in enumerate(lots.argsort(dim=-1).tolist()):", "lots has two axes: the last one is axis 1."),
        ("left -= own.sum()", "A tensor of one number compares as the number does."),
        ("left -= float(own.sum())", "Counts of pieces are exact as floats."),
        ("left = max(1, round(rate * float((words[row] >= 0).sum())))", "Counts of pieces are exact as floats."),
    ],
    "no-repeats": [
        ("grams = tokens.unfold(-1, n, 1)", "tokens has two axes: the last one is axis 1."),
        (
            "allowed, count = (logits.clone(), tokens.size(-1) - n + 1)",
            "tokens has two axes: the last one is axis 1.",
        ),
    ],
    "limit-for-share": [
        ("if room <= ordered[0] * len(ordered):", _TOLERANCE),
        ("if limit <= size:", f"At a size both ways lead to that size, but for the largest. {_TOLERANCE}"),
        ("room = ordered[0] / share * (1 + 5e-10)", _TOLERANCE),
        ("room = ordered[0] / share * (1 + 2e-09)", _TOLERANCE),
    ],
    "corrupt-rows": [
        ("names = first_sentinel + 1 - begins.cumsum(dim=-1)", "begins has two axes: the last one is axis 1."),
        ("length = kept.sum(dim=-1, keepdim=True)", "kept has two axes: the last one is axis 1."),
        (
            "side = ids.new_full((len(ids), int(length.max()) + 1), pad).scatter(-1, length, eos)",
            "A side has two axes: the last one is axis 1.",
        ),
        (
            "side = ids.new_full((len(mask), int(length.max()) + 1), pad).scatter(1, length, eos)",
            "ids and mask have one shape.",
        ),
        (
            "side = ids.new_full((len(ids), length.max() + 1), pad).scatter(1, length, eos)",
            "A tensor of one number counts as the number does.",
        ),
        ("side[row, kept.cumsum(dim=-1)[kept] - 1] = pairs[kept]", "kept has two axes: the last one is axis 1."),
    ],
    "whole-words": [
        ("if len(ids) < room:", "A text of just the room is cut into two parts that are all of it."),
        ("return ids", "It is a list already, with the same items."),
        ("if len(words) <= room:", "ids and words are equally long there."),
        (
            "begins = [i for i in range(len(ids)) if i == 0 or words[i] != words[i - 1]] + [len(words)]",
            "ids and words are equally long there.",
        ),
        (
            "begins = [i for i in range(len(ids)) if i <= 0 or words[i] != words[i - 1]] + [len(ids)]",
            "No place in a list is below 0.",
        ),
        (
            "begins = [i for i in range(len(ids)) if i == 0 or words[i] > words[i - 1]] + [len(ids)]",
            "The numbers of the words rise.",
        ),
        (
            "begins = [i for i in range(len(words)) if i == 0 or words[i] != words[i - 1]] + [len(ids)]",
            "ids and words are equally long there.",
        ),
        (
            "start_of_tail = min((place for place in begins if len(words) - place <= room - end_of_head))",
            "ids and words are equally long there.",
        ),
    ],
    "layer-rates": [
        ("if first in ('classifier', 'pooler') and rest:", "The order of a choice does not matter."),
        (
            "steps = num_layers - 1 - float(rest[1])",
            "A power of a float with a whole exponent, int or float, is the same.",
        ),
    ],
    "layer-accuracies": [
        ("y = F.one_hot(gold).double()", "Every class occurs, so the largest number tells how many there are."),
        ("return right / len(folds)", "There are as many folds as labels."),
        (
            "gram = x.mT @ x + penalty * torch.eye(x.size(2))",
            "The unit matrix is exact in every type, and the sum has the larger one.",
        ),
        ("right += (scores.argmax(dim=2) == gold[out]).sum(dim=-1)", "The classes [L, n] have two axes."),
        (
            "scores = held @ torch.linalg.solve(gram, x.mT @ (target + prior)) + prior",
            "The columns of x add up to zero, so a constant in y has no part in x^T y.",
        ),
        (
            "scores = held @ torch.linalg.solve(gram, x.mT @ target) + prior",
            "The columns of x add up to zero, so a constant in y has no part in x^T y.",
        ),
    ],
    "attend-windows": [
        ("largest = lowest.scatter_reduce(-1, text, scores.detach(), 'amax')", "The scores have one axis."),
        (
            "largest = lowest.scatter_reduce(0, text, scores, 'amax')",
            "What is subtracted from all scores of a text cancels, and so does its gradient.",
        ),
        ("total = scores.new_zeros(num_texts).index_add(-1, text, shares)", "The shares have one axis."),
        (
            "if len(vectors) and (text.min() < 0 or text.max() >= num_texts):",
            "There are as many vectors as entries of text.",
        ),
        ("weighted = vectors * (shares / total[text]).unsqueeze(-1)", "The shares have one axis before."),
        (
            "return query.new_zeros(num_texts, vectors.size(1)).index_add(0, text, weighted)",
            "The query has the vectors' type.",
        ),
        (
            "return vectors.new_zeros(num_texts, vectors.size(-1)).index_add(0, text, weighted)",
            "The vectors have two axes: the last one is axis 1.",
        ),
    ],
    "first-counted": [
        (
            "alphas = [curves[schedule](update / total) for update in range(total + 1)]",
            "One threshold more than are looked at.",
        ),
        ("counted = [t for t in range(total) if probability < thresholds[t] + 1e-08]", _BETWEEN),
        ("counted = [t for t in range(total) if probability <= thresholds[t] + 5e-09]", _BETWEEN),
        ("counted = [t for t in range(total) if probability <= thresholds[t] + 2e-08]", _BETWEEN),
    ],
    "exact-share": [
        ("for cut in [*range(len(ordered))][:-1]:", _LEFT_EARLIER),
        ("for cut in range(len(ordered) + 1):", _LEFT_EARLIER),
        ("for cut in range(len(ordered) - 1):", _LEFT_EARLIER),
        ("gaps = max(tf_idf) - np.array(tf_idf)", "The list holds floats."),
        ("if factor * ordered[cut] < 1:", "Where the product is 1, the word gets 1 either way, and so do the others."),
        ("return (gaps > 0).astype(int).tolist()", "0 and 1 are the same numbers as floats."),
        ("factor = (wanted - cut) / ordered[cut:-1].sum()", "The last gap is 0: that of the largest TF-IDF."),
    ],
    "mixed-adapters": [
        *(
            (f"if (task < -1).any() or (task >= len({other})).any():", "The stacks have one entry for each task.")
            for other in ("down_bias", "up", "up_bias")
        ),
    ],
    "fold-linear": [
        ("if down.size(-1) != weight.size(0):", "down has two axes: the last one is axis 1."),
        ("if down.size(1) != bias.size(0):", "A bias has one entry for each row of the weight."),
    ],
    "rank-of-change": [
        ("u, s, vt = torch.linalg.svd(after - before)", "Of u and vt, no more is used than the reference has."),
        (
            "u, s, vt = torch.linalg.svd(after - before, full_matrices=True)",
            "Of u and vt, no more is used than the reference has.",
        ),
        ("kept = s.square().sum(dim=0).cumsum(dim=-1)", "One axis is left: the last one is axis 0."),
        ("kept = s.square().mean(dim=0).cumsum(dim=0)", "What is kept and the whole are divided by the same number."),
        (
            "rank = (kept < share * kept[-1]).sum() + 1 if kept[-1] > 0 else 0",
            "A tensor of one number counts as the number does.",
        ),
        (
            "rank = int((kept < share * kept[-1]).sum()) + 1 if kept[0] > 0 else 0",
            "The largest singular values are zero only where all are.",
        ),
        (
            "rank = int((kept <= share * kept[-1]).sum()) + 1 if kept[-1] > 0 else 0",
            "The docstring says that no rank keeps just the share that is asked for.",
        ),
    ],
}

# These differ from the reference, but the grader lets them through on purpose. They count as not rejected.
_SINGLE = "The penalty in single precision: another result only if it is above 3e38 or below 1e-45."
TOLERATED: dict[str, list[tuple[str, str]]] = {
    "probe-scores": [
        ("eye = penalty * torch.eye(layers.size(2))", _SINGLE),
        ("eye = penalty * torch.eye(layers.size(2), dtype=labels.dtype)", _SINGLE),
        ("eye = penalty * torch.eye(layers.size(2), dtype=folds.dtype)", _SINGLE),
    ],
}
