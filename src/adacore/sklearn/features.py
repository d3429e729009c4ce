"""What selection compares: any table as numbers on like scales. The estimator never sees them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

CATEGORIES = 20
"""Categories of a column that are told apart; the rarer ones count as one.

A column of names or identifiers would otherwise add as many coordinates as there are rows, all of them noise."""

MOSTLY_ZERO = 0.25
"""Share of entries up to which a sparse matrix holds words or clicks, not a table of measurements."""

# What the engine takes as it is: float16 and whole numbers would overflow or lose digits in squared distances.
FLOATS = ("float32", "float64")


def is_frame(X: Any) -> bool:
    """Return whether X has named columns of its own types, as a pandas frame does (pandas itself is not needed)."""
    return hasattr(X, "iloc") and hasattr(X, "columns")


def selection_features(X: Any) -> Any:
    """Make the transformer that a table is selected by where ``features="auto"``.

    Distances between rows mean something only where columns have like scales. Numeric columns get their median where a
    value is missing, and then mean 0 and variance 1; two random rows differ in one by 2 on average (squared). All other
    columns are one-hot, a missing value being a category of its own; two rows of different categories differ by 2 too.
    Dates count as numbers. A sparse matrix that is mostly zeros is left as it is: standardised, the rarest words of a
    text would count most (one medoid of a tf-idf table then stood for 14 % of it, against 5 %). One that is not is
    scaled as an array is; distances do not change when means are not subtracted.

    Args:
        X: Array, CSR or data frame, shape (n, d).

    Returns:
        An unfitted scikit-learn transformer.

    Example:
        >>> selection_features(np.array([[1.0], [3.0]])).fit_transform(np.array([[1.0], [3.0]]))
        array([[-1.],
               [ 1.]])
    """
    if sparse.issparse(X):
        filled = X.nnz > MOSTLY_ZERO * X.shape[0] * X.shape[1]
        # Subtracting means would fill a sparse matrix; distances do not change with the origin.
        return StandardScaler(with_mean=False) if filled else FunctionTransformer(accept_sparse=True)
    if is_frame(X):
        kinds = [_kind(dtype) for dtype in X.dtypes]
    # Arrays of objects or texts hold a type for each column, as frames do, but do not say which.
    elif X.dtype.kind in "OUS":
        kinds = [_kind_of_values(X[:, c]) for c in range(X.shape[1])]
    else:
        return _numeric() if X.dtype.kind == "f" and np.isnan(X).any() else StandardScaler()
    # By position and not by name: two columns of a frame may share a name.
    columns = {kind: [c for c, found in enumerate(kinds) if found == kind] for kind in ("number", "date", "category")}
    return ColumnTransformer(
        [
            ("number", _numeric(), columns["number"]),
            ("date", make_pipeline(FunctionTransformer(_seconds), _numeric()), columns["date"]),
            ("category", make_pipeline(FunctionTransformer(_texts), _one_hot()), columns["category"]),
        ]
    )


def as_numbers(X: Any, y: Any, weights: NDArray[np.float64] | None, features: Any) -> Any:
    """Return the coordinates that selection compares.

    Args:
        X: Array, CSR or data frame, shape (n, d).
        y: Targets, shape (n,); for transformers that want them.
        weights: Of the examples, float64, shape (n,); None for ones. A standardised array takes its means with them.
        features: ``"auto"`` for ``selection_features``, None for X as it is, or a transformer.

    Returns:
        float32 where that is what came in, else float64; dense or CSR, shape (n, d').

    Raises:
        ValueError: If what comes out is not a finite table of numbers.
        TypeError: If ``features`` is no transformer.
    """
    if features is None:
        found = X
    elif isinstance(features, str) and features == "auto":
        transformer = selection_features(X)
        # A ColumnTransformer hands no weights on to its parts; then the mean of the unweighted rows is used.
        weighted = weights is not None and isinstance(transformer, StandardScaler)
        found = transformer.fit(X, **({"sample_weight": weights} if weighted else {})).transform(X)
    elif isinstance(features, type):
        raise TypeError(f"features={features.__name__} is a class: pass an instance, {features.__name__}()")
    elif hasattr(features, "fit") and hasattr(features, "transform"):
        # A clone: the caller's transformer stays as it was, and fits on other rows elsewhere.
        found = clone(features).fit_transform(X, y)
    else:
        raise TypeError(f"features={features!r}: expected 'auto', None or a scikit-learn transformer")
    if sparse.issparse(found):
        found = sparse.csr_array(found)
        return found if found.dtype.name in FLOATS else found.astype(np.float64)
    found = np.asarray(found)
    if found.dtype.name not in FLOATS:
        try:
            found = found.astype(np.float64)
        except ValueError as error:
            raise ValueError(
                f"features={features!r} leaves columns that are no numbers ({error}): encode them"
            ) from None
    if not np.isfinite(found).all():
        raise ValueError(f"features={features!r} leaves nan or infinity: impute them in it, or pass features='auto'")
    return found


def _numeric() -> Any:
    # The median and not the mean: one fill value of 1e9 would move a mean. An empty column is kept, so that columns
    # stay in step.
    return make_pipeline(SimpleImputer(strategy="median", keep_empty_features=True), StandardScaler())


def _one_hot() -> Any:
    # float32 holds 0 and 1 exactly, in half the memory; dense, since the engine writes sparse rows out anyway.
    return OneHotEncoder(
        handle_unknown="infrequent_if_exist", max_categories=CATEGORIES, sparse_output=False, dtype=np.float32
    )


def _kind(dtype: Any) -> str:
    kind = getattr(dtype, "kind", "O")
    return "number" if kind in "biuf" else "date" if kind in "mM" else "category"


def _kind_of_values(column: NDArray[Any]) -> str:
    # A whole column must convert: one text in it and the column is of categories.
    try:
        column.astype(np.float64)
    except ValueError:
        return "category"
    return "number"


def _seconds(columns: Any) -> NDArray[np.float64]:
    found = []
    for c in range(columns.shape[1]):
        column = columns.iloc[:, c]
        # Whole seconds: nanoseconds since 1970 take more digits than float64 has. Of dates with a time zone pandas
        # makes dates in UTC here, and objects where no type is asked for.
        dates = np.asarray(column.to_numpy(dtype=f"{column.dtype.kind}8[s]"))
        found.append(np.where(np.isnat(dates), np.nan, dates.astype(np.int64).astype(np.float64)))
    return np.column_stack(found)


def _texts(columns: Any) -> NDArray[Any]:
    """Write every value as text: an encoder can't sort numbers among texts."""
    values = np.asarray(columns, dtype=object)
    if hasattr(columns, "isna"):
        missing = np.asarray(columns.isna())
    else:
        # nan is the only value that differs from itself; ``isnan`` refuses texts.
        missing = np.array([[v is None or v != v for v in row] for row in values])
    texts = np.array([[str(v) for v in row] for row in values], dtype=object).reshape(values.shape)
    # A category of its own: that a value is missing often tells something.
    texts[missing] = "missing"
    return texts
