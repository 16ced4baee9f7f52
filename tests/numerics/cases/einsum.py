"""Cases of Einsum."""

import numpy as np

rng = np.random.default_rng(0)


def _n(*shape):
    return rng.standard_normal(shape).astype(np.float32)


EQUATIONS = [
    ("ij,jk->ik", (3, 4), (4, 2)), ("ij,jk", (3, 4), (4, 2)), ("ij->ji", (3, 4)), ("ji", (3, 4)),
    ("ij->i", (3, 4)), ("ij->", (3, 4)), ("ii->i", (3, 3)), ("ii", (3, 3)), ("iij->j", (3, 3, 2)),
    ("i,j->ij", (3,), (2,)), ("i,i->", (3,), (3,)), ("bij,bjk->bik", (2, 3, 4), (2, 4, 2)),
    ("abc,cd->abd", (2, 3, 4), (4, 2)), ("bqhd,bkhd->bhqk", (2, 3, 2, 4), (2, 5, 2, 4)),
    ("...ij,...jk->...ik", (2, 3, 4), (2, 4, 2)), ("...ij,jk", (2, 3, 4), (4, 2)),
    ("...i->...", (2, 3, 4)), ("...ij->...ji", (2, 3, 4)), ("i...->...", (2, 3, 4)),
    ("...ij,...jk->...ik", (5, 1, 3, 4), (1, 2, 4, 2)), ("...,...->...", (2, 1), (1, 3)),
    ("ij,ij,jk->k", (3, 4), (3, 4), (4, 2)), ("ij,ik->jk", (3, 4), (3, 2)),
    ("ij,kl->", (3, 4), (2, 2)), ("a b , b c -> a c", (3, 4), (4, 2)), ("bi,oij,bj->bo",
     (2, 3), (4, 3, 5), (2, 5)),
]  # fmt: skip

CASES = [
    {"op": "Einsum", "inputs": [_n(*s) for s in shapes], "attrs": {"equation": equation},
     "torch": lambda t, *x, e=equation: t.einsum(e, *x)}
    for equation, *shapes in EQUATIONS
]  # fmt: skip
