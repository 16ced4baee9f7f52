"""Cases of the Fourier transforms."""

import numpy as np

rng = np.random.default_rng(0)


def _n(*shape):
    return rng.standard_normal(shape).astype(np.float32)


def _dft(axis, size, inverse, onesided):
    at = axis if axis >= 0 else axis + 1  # PyTorch has no axis for the parts

    def run(torch, x, *_):
        z = torch.complex(x[..., 0], x[..., 1] if x.shape[-1] == 2 else torch.zeros_like(x[..., 0]))
        if onesided:
            made = torch.fft.irfft(z, size, at)[..., None] if inverse else torch.view_as_real(
                torch.fft.rfft(z.real, size, at))  # fmt: skip
            return made.contiguous()
        made = (torch.fft.ifft if inverse else torch.fft.fft)(z, size, at)
        return torch.view_as_real(made.resolve_conj())

    return run


def _case(shape, axis, size=None, inverse=0, onesided=0, opset=20):
    length = None if size is None else np.array(size, np.int64)
    at = [np.array(axis, np.int64)] if opset >= 20 else []
    attrs = {"inverse": inverse, "onesided": onesided} | ({} if at else {"axis": axis})
    return {
        "op": "DFT", "inputs": [_n(*shape), *([] if length is None and not at else [length]), *at],
        "attrs": attrs, "opset": opset, "torch": _dft(axis, size, inverse, onesided),
    }  # fmt: skip


def _stft(step, onesided):
    def run(torch, x, _, window=None, length=None):
        n = len(window) if window is not None else int(length)
        frames = x[..., 0].unfold(1, n, step) * (1.0 if window is None else window)
        made = torch.fft.rfft(frames) if onesided else torch.fft.fft(frames)
        return torch.view_as_real(made)

    return run


def _frames(window, length, step, onesided=1):
    given = [window] if length is None else [window, np.array(length)]
    return {
        "op": "STFT", "inputs": [_n(2, 20, 1), np.array(step), *given], "wrt": [0],
        "attrs": {"onesided": onesided}, "torch": _stft(step, onesided),
    }  # fmt: skip


HANN = np.hanning(9)[:8].astype(np.float32)
CASES = [
    *(_case((2, n, 3, kind), 1, inverse=inverse, opset=opset)
      for n in (4, 5) for kind in (1, 2) for inverse in (0, 1) for opset in (18, 20)),
    *(_case((2, n, 1), 1, size, onesided=1, opset=opset)
      for n, size in ((6, None), (7, None), (6, 4), (5, 8)) for opset in (18, 20)),
    *(_case((2, 6, 2), 1, size) for size in (4, 9)),
    _case((6, 3, 2), 0), _case((2, 3, 5, 2), -2),
    _case((2, 4, 2), 1, inverse=1, onesided=1), _case((2, 4, 2), 1, 7, inverse=1, onesided=1),
    _frames(HANN, None, 4), _frames(HANN, 8, 3, 0), _frames(None, 6, 2),
]  # fmt: skip
