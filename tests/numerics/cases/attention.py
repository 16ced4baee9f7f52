"""Cases of Attention (opset 23 and 24)."""

import numpy as np

rng = np.random.default_rng(0)


def _n(*shape):
    return rng.standard_normal(shape).astype(np.float32)


def _heads(x, n):
    return x if x.ndim == 4 else x.reshape(*x.shape[:2], n, -1).transpose(1, 2)


def _torch(attrs, outputs=1):
    def run(torch, q, k, v, mask=None, past_k=None, past_v=None, lengths=None):
        flat = q.ndim == 3
        q = _heads(q, attrs.get("q_num_heads"))
        k, v = (_heads(x, attrs.get("kv_num_heads")) for x in (k, v))
        start = 0
        if past_k is not None:
            start = past_k.shape[2]
            k, v = torch.cat([past_k, k], 2), torch.cat([past_v, v], 2)
        kept = k, v
        k, v = (x.repeat_interleave(q.shape[1] // x.shape[1], 1) for x in (k, v))
        scores = q @ k.transpose(-1, -2) * attrs.get("scale", q.shape[-1] ** -0.5)
        stages = [scores]
        if attrs.get("softcap"):
            scores = torch.tanh(scores / attrs["softcap"]) * attrs["softcap"]
        stages.append(scores)
        rows, columns = scores.shape[-2:]
        dead = torch.zeros(rows, columns, dtype=torch.bool)
        if attrs.get("is_causal"):
            dead = torch.arange(columns)[None] > torch.arange(rows)[:, None] + start
        if lengths is not None:
            dead = dead | (torch.arange(columns) >= lengths[:, None, None, None])
        if mask is not None and mask.dtype == torch.bool:
            dead = dead | ~mask
        elif mask is not None:
            scores = scores + mask
        scores = scores.masked_fill(dead, -torch.inf)
        stages.append(scores)
        weights = torch.softmax(scores, -1)
        weights = torch.where(dead.expand_as(weights).all(-1, keepdim=True), 0.0, weights)
        stages.append(weights)
        y = weights @ v
        if flat:
            y = y.transpose(1, 2).flatten(2)
        return (y, *kept, stages[attrs.get("qk_matmul_output_mode", 0)])[:outputs]

    return run


def _case(*inputs, outputs=1, opset=23, **attrs):
    return {"op": "Attention", "inputs": list(inputs), "attrs": attrs, "outputs": outputs,
            "opset": opset, "kink": True, "torch": _torch(attrs, outputs)}  # fmt: skip


def _qkv(heads=2, groups=2, rows=4, columns=5):
    return _n(2, heads, rows, 3), _n(2, groups, columns, 3), _n(2, groups, columns, 3)


FLAT = {"q_num_heads": 2, "kv_num_heads": 2}
MASK = rng.random((4, 5)) < 0.7
MASK[:, 0] = True
CASES = [
    _case(*_qkv()), _case(*_qkv(), opset=24), _case(*_qkv(columns=4), is_causal=1),
    _case(*_qkv(), scale=0.3), _case(*_qkv(), softcap=2.0), _case(*_qkv(heads=4)),
    _case(*_qkv(heads=4, groups=1, columns=4), is_causal=1),
    _case(_n(2, 4, 6), _n(2, 5, 6), _n(2, 5, 8), **FLAT),
    _case(_n(2, 4, 12), _n(2, 5, 6), _n(2, 5, 8), q_num_heads=4, kv_num_heads=2),
    _case(*_qkv(), MASK), _case(*_qkv(), _n(4, 5)), _case(*_qkv(), _n(2, 1, 4, 5)),
    _case(*_qkv(), _n(2, 2, 4, 7), _n(2, 2, 2, 3), _n(2, 2, 2, 3), outputs=3),
    _case(*_qkv(rows=3, columns=3), None, _n(2, 2, 2, 3), _n(2, 2, 2, 3), outputs=3, is_causal=1),
    _case(*_qkv(), None, None, None, np.array([5, 3]), opset=24),
]  # fmt: skip
