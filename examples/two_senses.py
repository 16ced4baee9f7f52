"""Two senses at once: what a wrist does, with the picture of the same moment.

The picture and the motion come from recordings with clocks of their own; `join` pairs
them by capture time, whatever their rates.

python examples/two_senses.py
"""

import asyncio

import edgeml
from edgeml.devices import CSVReplay


async def main() -> None:
    motion = CSVReplay("edgeml:watch.csv") | edgeml.ActivityRecognizer()
    camera = edgeml.Camera("edgeml:street.mp4") | edgeml.ObjectDetector(only=["person"])
    moments = edgeml.Pipeline(edgeml.join(activity=motion, street=camera, within=0.1))
    async for moment in moments:
        activity, street = moment.data["activity"], moment.data["street"]
        people = "no picture" if street is None else f"{len(street.data)} people outside"
        print(f"{activity.data.label:20s} {activity.data.score:4.0%}  {people}")
    print(moments.explain())


if __name__ == "__main__":
    asyncio.run(main())
