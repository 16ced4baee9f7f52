"""What test_store.py kills: add, accept and forget, each said aloud when it is done."""

import sys

import numpy as np

from edgeml.personalize import Store


def main(folder: str) -> None:
    with Store(folder) as store:
        store.bind("backbone", 8)
        for number in range(10**6):
            label = f"class {number % 3}"
            print("added", store.add(label, np.full(8, number)), label, flush=True)
            if number % 5 == 4:
                head = f"head {number} of {sum(store.counts().values())}".encode() * 1000
                print("accepted", store.accept(head, {"number": number}), flush=True)
            if number % 40 == 39:
                print("forgets class 2", flush=True)
                store.forget("class 2", (b"without 2", {}))


if __name__ == "__main__":
    main(sys.argv[1])
