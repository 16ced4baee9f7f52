"""Count the people in front of a camera.

python examples/people.py            # a recorded street
python examples/people.py 0          # live: the first USB camera
python examples/people.py csi:0      # live: a Raspberry Pi's camera
"""

import asyncio
import sys

import edgeml


async def main(device: str) -> None:
    camera = edgeml.Camera(int(device) if device.isdigit() else device)
    async for sample in camera | edgeml.ObjectDetector(only=["person"], hold=1.0):
        print(f"{sample.seq:5d}  {len(sample.data)} people")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "edgeml:street.mp4"))
