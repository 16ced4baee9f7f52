"""The first model: how long a download takes, from its size. One Dense unit, in seconds on a Pi.

    python examples/first_model.py

The measurements are real: a server on this machine sends files of different sizes over a line
of 8 MB/s.
"""

import http.server
import threading
import time
import urllib.request

import numpy as np

import edgeml
from edgeml.layers import Dense

LINE = 8e6  # bytes per second
SIZES = np.linspace(0.05, 2.0, 20)  # MB


class SlowLine(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        left = int(self.path[1:])
        self.send_response(200)
        self.send_header("Content-Length", str(left))
        self.end_headers()
        while left:
            part = min(left, 40_000)
            self.wfile.write(b"\0" * part)
            time.sleep(part / LINE)
            left -= part

    def log_message(self, *args):
        pass


def download_seconds(sizes):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), SlowLine) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        seconds = []
        for size in sizes:
            start = time.perf_counter()
            with urllib.request.urlopen(
                f"http://127.0.0.1:{server.server_port}/{int(size * 1e6)}"
            ) as reply:
                reply.read()
            seconds.append(time.perf_counter() - start)
        server.shutdown()
    return np.array(seconds)


def main():
    seconds = download_seconds(SIZES)
    train, test = np.arange(20) % 4 != 3, np.arange(20) % 4 == 3

    model = edgeml.Sequential([edgeml.Input((1,)), Dense(1)])
    model.compile(optimizer=edgeml.optimizers.SGD(0.005), loss="meanAbsoluteError")
    model.fit(SIZES[train], seconds[train], epochs=300, verbose=0)

    error = model.evaluate(SIZES[test], seconds[test])["loss"]
    guess = np.abs(seconds[test] - seconds[train].mean()).mean()
    print(f"1.0 MB takes {model.predict(np.array([[1.0]]))[0, 0]:.3f} s")
    print(f"error {error:.4f} s; always saying the mean: {guess:.4f} s")
    return error, guess


if __name__ == "__main__":
    main()
