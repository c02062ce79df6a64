"""How far codes and known factors of variation agree: five published scores.

codes: floats (N, D), one column per code, a categorical code as the number of its category.
factors: whole numbers from 0, (N, F), what the images were made from.

All estimate information from counts, as Locatello et al. 2019 (arXiv 1811.12359) do: each code is
cut into `bins` equal intervals between its smallest and largest value, or kept as it is if it takes
at most `bins` values.  `levels` does the same to a factor of many values, which theirs have not;
then the line of SAP is one through the intervals.  All lie between 0 and 1, 1 being the best, and
none can tell a code from its mirror image or one order of the codes from another.  A factor with
one value is left out.
"""

import numpy as np

from tinyinfogan.evaluation.clustering import confusion_table

BINS = 20
VALUES = 40  # of a factor that is not cut, as many as dSprites' orientation has


def levels(values, bins=BINS, most=VALUES):
    """Return (N,) numbers as whole numbers from 0, in their order, for counts.

    That is the number of each value among the different ones or, if those are more than `most`, of
    its interval among `bins` equal ones between the smallest and the largest.
    """
    different, numbers = np.unique(values, return_inverse=True)
    if len(different) > most:
        edges = np.linspace(values.min(), values.max(), bins + 1)
        numbers = np.digitize(values, edges[1:-1])
    return numbers


def mutual_information(codes, factors, bins=BINS):
    """Return I(c_d; v_f) in nats, (D, F), and H(v_f), (F,), both from counts.

    I(c; v) = H(c) + H(v) - H(c, v).  Counts make I too large, by about
    (bins - 1)(values - 1) / 2N for a code that is independent of the factor (Miller 1955).
    """
    factors = _varying(factors)

    def information(code, factor):
        joint = _table(code, factor, bins) / len(code)
        marginals = _entropy(joint.sum(axis=1)) + _entropy(joint.sum(axis=0))
        return max(0.0, marginals - _entropy(joint))

    nats = [[information(code, factor) for factor in factors.T] for code in codes.T]
    entropies = [_entropy(np.bincount(factor) / len(factor)) for factor in factors.T]
    return np.array(nats), np.array(entropies)


def mutual_information_gap(codes, factors, bins=BINS):
    """Return MIG, the mean over the factors of the gap between the two codes that know it best.

    Chen et al. 2018 (arXiv 1802.04942), equation 6: (I(c_1st; v) - I(c_2nd; v)) / H(v).  A factor
    that is spread over two codes scores low, two factors in one code do not.
    """
    information, entropies = mutual_information(codes, factors, bins)
    return float(np.mean(_gap(information) / entropies))


def modularity(codes, factors, bins=BINS):
    """Return the mean over the codes of how far each knows one factor only.

    Ridgeway and Mozer 2018 (arXiv 1802.05312), section 3: 1 - Σ_f≠best I_f² / (I_best² (F - 1)).
    A code that knows nothing at all scores 0, but one with a trace of information can score high:
    read it beside MIG.  It takes two factors that vary, or more.
    """
    squares = mutual_information(codes, factors, bins)[0] ** 2
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
    columns = np.flatnonzero(np.ptp(factors, axis=0))

    def score(code, factor, column):
        if column in categorical:
            table = _table(code, factor, bins)
            values = table.sum(axis=0)
            shares = table[:, values > 0] / values[values > 0]
            return shares.max(axis=1).sum() / shares.shape[1]
        return np.corrcoef(code, factor)[0, 1] ** 2 if code.std() > 0 else 0.0

    scores = [[score(code, factors[:, column], column) for column in columns] for code in codes.T]
    return float(np.mean(_gap(scores)))


def factor_vae_score(codes, factors, rng, votes=800, batch=100):
    """Return the share, 0 to 1, of groups whose fixed factor is found from its steadiest code.

    Kim and Mnih 2018 (arXiv 1802.05983), section 4: in a group of `batch` images, drawn with
    replacement by `rng`, all share the value of one factor; the code whose variance, in units of
    its overall variance, is smallest votes for it.  The classifier is the majority of `votes`
    groups, the score its accuracy on as many others.  Constant codes never vote.  By chance the
    score is 1 / F.
    """
    factors = _varying(factors)
    groups = [[np.flatnonzero(column == v) for v in np.unique(column)] for column in factors.T]
    codes = codes[:, codes.std(axis=0) > 1e-8]
    variances = codes.var(axis=0)
    if not codes.size:
        return 1 / len(groups)

    def vote_table():
        table = np.zeros((codes.shape[1], len(groups)), int)
        for vote in range(votes):
            factor = vote % len(groups)
            group = groups[factor][rng.integers(len(groups[factor]))]
            chosen = codes[rng.choice(group, batch)]
            table[np.argmin(chosen.var(axis=0) / variances), factor] += 1
        return table

    majority = vote_table().argmax(axis=1)
    return float(vote_table()[np.arange(len(majority)), majority].sum() / votes)


def dci(codes, factors, depths=None, seed=0):
    """Return "disentanglement", "completeness", "informativeness": does a code serve one factor, is
    a factor in one code, is it there (Eastwood and Williams 2018, ICLR, section 2).

    For each factor a random forest of scikit-learn (extra `evaluate`) predicts its number from all
    codes; R (D, F) are the importances of the codes in it.  Disentanglement: 1 - H(R_d / Σ_f R_df)
    to the base F for each code, weighted by the code's share of R.  Completeness: the mean over the
    factors of 1 - H(R_f / Σ_d R_df) to the base D.  Informativeness: the mean over the factors of
    R² (at least 0) on the half of the images that the forest has not seen; Eastwood and Williams
    give √(1 - R²).  Raises ImportError without scikit-learn.

    The forest is a regressor of 10 trees, as deep as `depths` has it for each factor (default: 4).
    With 4, 2, 4, 2, 2 for shape, scale, orientation, x and y that is IB-GAN's, one of four that the
    code of Lin et al. 2020 scores with (github.com/fjxmlzn/InfoGAN-CR, gan/metric.py); their table
    1 (arXiv 1906.06034; InfoGAN .41, IB-GAN .67, theirs .71) does not say which it has.
    """
    from sklearn.ensemble import RandomForestRegressor

    half = len(codes) // 2
    importances, explained = [], []
    for column in np.flatnonzero(np.ptp(factors, axis=0)):
        factor, depth = factors[:, column], 4 if depths is None else depths[column]
        forest = RandomForestRegressor(10, max_depth=depth, random_state=seed)
        forest.fit(codes[:half], factor[:half])
        importances.append(forest.feature_importances_)
        unseen, error = factor[half:], factor[half:] - forest.predict(codes[half:])
        explained.append(max(0, 1 - np.mean(error**2) / max(unseen.var(), 1e-12)))
    R = np.array(importances).T
    weights = R.sum(axis=1) / max(R.sum(), 1e-12)
    return {
        "disentanglement": float(weights @ _concentration(R)),
        "completeness": float(np.mean(_concentration(R.T))),
        "informativeness": float(np.mean(explained)),
    }


def _concentration(rows):
    """Return 1 - the entropy of each row, as shares, to the base of its length; 0 for no shares."""
    base = np.log(max(2, rows.shape[1]))
    return [1 - _entropy(row / row.sum()) / base if row.sum() > 0 else 0 for row in rows]


def _entropy(shares):
    shares = shares[shares > 0]
    return -np.sum(shares * np.log(shares))


def _gap(table):
    """Return by how much the largest of each column is above the second, (F,), or above 0."""
    second, first = np.sort([*table, np.zeros(len(table[0]))], axis=0)[-2:]
    return first - second


def _table(code, factor, bins):
    """Return how often each interval of a code meets each value of a factor, (cells, values)."""
    cells = levels(code, bins, bins)
    return confusion_table(cells, factor, cells.max() + 1)


def _varying(factors):
    """Return the factors that take more than one value."""
    return factors[:, np.ptp(factors, axis=0) > 0]
