"""How far codes and known factors of variation agree: five published scores.

codes: floats (N, D), one column a code, a categorical code as the number of its category.
factors: whole numbers from 0, (N, F), what the images were made from.

All estimate information from counts, as Locatello et al. 2019 (arXiv 1811.12359) do: each code is
cut into `bins` equal intervals between its smallest and largest value, or kept as it is where it
takes at most `bins` values.  All lie between 0 and 1, 1 being the best, and none can tell a code
from its mirror image or one order of the codes from another.  A factor with one value is left out.
All raise ValueError for arrays of other shapes or kinds.
"""

from typing import NamedTuple

import numpy as np

BINS = 20


def mutual_information(codes, factors, bins=BINS):
    """Return I(c_d; v_f) in nats, (D, F), and H(v_f), (F,), both from counts.

    I = Σ p(c, v) log [p(c, v) / p(c) p(v)].  Counts make I too large, by about
    (bins - 1)(values - 1) / 2N for a code that is independent of the factor (Miller 1955).
    """
    codes, factors = _checked(codes, factors)
    information = np.zeros((codes.shape[1], factors.shape[1]))
    for d, code in enumerate(codes.T):
        cells = _discretise(code, bins)
        for f, factor in enumerate(factors.T):
            joint = _table(cells, factor) / len(code)
            apart = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0)
            some = joint > 0
            information[d, f] = np.sum(joint[some] * np.log(joint[some] / apart[some]))
    shares = [np.bincount(factor) / len(factor) for factor in factors.T]
    entropies = np.array([-np.sum(p[p > 0] * np.log(p[p > 0])) for p in shares])
    return np.maximum(information, 0), entropies


def mutual_information_gap(codes, factors, bins=BINS):
    """Return MIG, the mean over the factors of the gap between the two codes that know it best.

    Chen et al. 2018 (arXiv 1802.04942), equation 6: (I(c_1st; v) - I(c_2nd; v)) / H(v).  A factor
    that is spread over two codes scores low, two factors in one code do not.
    """
    information, entropies = mutual_information(codes, factors, bins)
    best = _two_largest(information)
    return float(np.mean((best[0] - best[1]) / entropies))


def modularity(codes, factors, bins=BINS):
    """Return the mean over the codes of how far each knows one factor only.

    Ridgeway and Mozer 2018 (arXiv 1802.05312), section 3: 1 - Σ_f≠best I_f² / (I_best² (F - 1)).
    A code that knows nothing at all scores 0, but one with a trace of information can score high:
    read it beside MIG.  Raises ValueError also for fewer than two factors.
    """
    information, _ = mutual_information(codes, factors, bins)
    if information.shape[1] < 2:
        raise ValueError("modularity compares factors: it takes at least 2 that vary")
    squares = information**2
    best = squares.max(axis=1)
    others = (squares.sum(axis=1) - best) / (squares.shape[1] - 1)
    alive = best > 1e-12
    return float(np.mean(np.where(alive, 1 - others / np.where(alive, best, 1), 0)))


def separated_attribute_predictability(codes, factors, categorical=(), bins=BINS):
    """Return SAP, the mean over the factors of the gap between the two best predictors of it.

    Kumar et al. 2018 (arXiv 1711.00848), section 3.  A code predicts a factor as well as the R² of
    the line through them, Cov² / (Var Var); a factor whose values have no order (its column is in
    `categorical`) as well as the balanced accuracy of thresholds on the code: each of the `bins`
    intervals names the factor's value that is most over-represented in it.
    """
    columns = np.flatnonzero(np.ptp(np.asarray(factors), axis=0)) if np.ndim(factors) == 2 else ()
    codes, factors = _checked(codes, factors)
    scores = np.zeros((codes.shape[1], factors.shape[1]))
    for d, code in enumerate(codes.T):
        for f, factor in enumerate(factors.T):
            if columns[f] in categorical:
                table = _table(_discretise(code, bins), factor)
                values = table.sum(axis=0)
                shares = table[:, values > 0] / values[values > 0]
                scores[d, f] = shares.max(axis=1).sum() / shares.shape[1]
            elif code.std() > 0:
                scores[d, f] = np.corrcoef(code, factor)[0, 1] ** 2
    best = _two_largest(scores)
    return float(np.mean(best[0] - best[1]))


def factor_vae_score(draw_codes, sizes, rng, scales, votes=800, batch=100):
    """Return the share, 0 to 1, of groups whose fixed factor is found from its steadiest code.

    Kim and Mnih 2018 (arXiv 1802.05983), section 4: in a group of images all share the value of one
    factor; the code whose variance, in units of its overall variance, is smallest votes for it.
    The classifier is the majority of `votes` groups, the score its accuracy on as many others.

    draw_codes: function (factor, n, rng) -> codes (n, D) of images that share one random value of
        this factor, all others being drawn.
    sizes: the number of values of each factor, (F,); one with a single value is never fixed.
    scales: the standard deviation of each code over all images, (D,); constant codes never vote.
    batch: images in a group.  By chance the score is 1 / F.
    """
    scales, varying = np.asarray(scales, float), np.flatnonzero(np.asarray(sizes) > 1)
    alive = np.flatnonzero(scales > 1e-8)
    if not alive.size or not varying.size:
        return 1 / max(1, varying.size)

    def vote_table():
        table = np.zeros((alive.size, varying.size), int)
        for vote in range(votes):
            column = vote % varying.size
            codes = np.asarray(draw_codes(varying[column], batch, rng))[:, alive]
            table[np.argmin(codes.var(axis=0) / scales[alive] ** 2), column] += 1
        return table

    majority = vote_table().argmax(axis=1)
    return float(vote_table()[np.arange(alive.size), majority].sum() / votes)


def drawing_from(codes, factors):
    """Return draw_codes for `factor_vae_score` from images that are read already.

    A value of the factor is drawn, then n of the images that have it, with replacement.
    """
    codes, factors = np.asarray(codes), np.asarray(factors)
    groups = [[np.flatnonzero(column == value) for value in np.unique(column)]
              for column in factors.T]  # fmt: skip

    def draw_codes(factor, n, rng):
        group = groups[factor][rng.integers(len(groups[factor]))]
        return codes[rng.choice(group, n)]

    return draw_codes


class DCI(NamedTuple):
    """Shares from 0 to 1: does a code serve one factor, is a factor in one code, is it there."""

    disentanglement: float
    completeness: float
    informativeness: float


def dci(codes, factors, seed=0):
    """Return the DCI scores of Eastwood and Williams 2018 (ICLR), section 2.

    For each factor a random forest of scikit-learn (extra `evaluate`) predicts its value from all
    codes; R (D, F) are the importances of the codes in it.  Disentanglement: 1 - H(R_d / Σ_f R_df)
    to the base F for each code, weighted by the code's share of R.  Completeness: the mean over the
    factors of 1 - H(R_f / Σ_d R_df) to the base D.  Informativeness: the share of values named
    rightly on the half of the images that the forest has not seen, as Locatello et al. 2019 have
    it, where Eastwood and Williams take the root mean square error.  Splits of the trees, not
    `bins`, discretise the codes here.  Raises ImportError without scikit-learn.
    """
    from sklearn.ensemble import RandomForestClassifier

    codes, factors = _checked(codes, factors)
    half = len(codes) // 2
    importances, right = [], []
    for factor in factors.T:
        forest = RandomForestClassifier(30, min_samples_leaf=5, max_features=None,
                                        random_state=seed)  # fmt: skip
        forest.fit(codes[:half], factor[:half])
        importances.append(forest.feature_importances_)
        right.append(np.mean(forest.predict(codes[half:]) == factor[half:]))
    R = np.array(importances).T
    weights = R.sum(axis=1) / max(R.sum(), 1e-12)
    return DCI(
        float(weights @ _concentration(R)), float(_concentration(R.T).mean()), float(np.mean(right))
    )


def _concentration(rows):
    """1 - the entropy of each row, as shares, to the base of its length; 0 for a row of zeros."""
    total = rows.sum(axis=1, keepdims=True)
    p = rows / np.where(total > 0, total, 1)
    entropy = -np.sum(p * np.log(np.where(p > 0, p, 1)), axis=1) / np.log(max(2, rows.shape[1]))
    return np.where(total[:, 0] > 0, 1 - entropy, 0)


def _two_largest(table):
    """Return the largest and the second largest of each column, (2, F); 0 where there is none."""
    table = np.vstack([table, np.zeros((1, table.shape[1]))])
    return np.sort(table, axis=0)[:-3:-1]


def _table(cells, factor):
    """Counts of each pair of values."""
    values = factor.max() + 1
    pairs = np.bincount(cells * values + factor, minlength=(cells.max() + 1) * values)
    return pairs.reshape(-1, values)


def _discretise(code, bins):
    values, cells = np.unique(code, return_inverse=True)
    if len(values) <= bins:
        return cells
    return np.digitize(code, np.linspace(code.min(), code.max(), bins + 1)[1:-1])


def _checked(codes, factors):
    """Return both as arrays, without the factors that take one value only."""
    codes, factors = np.asarray(codes, float), np.asarray(factors)
    if codes.ndim != 2 or factors.ndim != 2 or len(codes) != len(factors) or len(codes) < 2:
        raise ValueError(f"codes and factors must be (N, D) and (N, F) with N of 2 or more, "
                         f"got {codes.shape} and {factors.shape}")  # fmt: skip
    if factors.dtype.kind not in "iu" or factors.min() < 0:
        raise ValueError(f"factors must be whole numbers from 0, got {factors.dtype}")
    if not np.isfinite(codes).all():
        raise ValueError("codes must be finite numbers")
    factors = factors[:, np.ptp(factors, axis=0) > 0].astype(np.int64)
    if not factors.size:
        raise ValueError("no factor takes more than one value; there is nothing to score")
    return codes, factors
