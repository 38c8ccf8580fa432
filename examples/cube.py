"""Shows: a cube of zarr chunks, written and read by xarray, and a second version that stores what changed.
Needs: pip install 'rsdos[zarr]' xarray
Run:   python cube.py DIRECTORY    (a new one, for the container)
"""

import sys

import numpy as np
import xarray

from rsdos import Container
from rsdos.integrations.zarr_store import DraftStore, SnapshotStore


def make_cube() -> xarray.Dataset:
    """Return 48 hours of temperatures on a grid of 60 x 120 points."""
    hours, rows, columns = 48, 60, 120
    random = np.random.default_rng(0)
    temperature = (15 + random.normal(size=(hours, rows, columns))).astype("float32")
    coordinates = {"hour": np.arange(hours), "latitude": np.linspace(-59, 59, rows), "longitude": np.arange(0, 360, 3)}
    return xarray.Dataset({"temperature": (tuple(coordinates), temperature)}, coordinates)


def main() -> None:
    container = Container.create(sys.argv[1])
    cube = make_cube()

    # All chunks become a few packs, and the version appears as a whole at the end of the block.
    chunks = {"temperature": {"chunks": (6, 60, 120)}}
    with container.snapshots.edit("weather") as draft:
        cube.to_zarr(DraftStore(draft, "cube.zarr"), mode="w", encoding=chunks, zarr_format=3, consolidated=False)
        draft.message = "first run"
    print("weather@1:", container.snapshots["weather@1"].stored().objects, "objects")

    # A slice reads the chunks that it needs, and no others.
    with xarray.open_zarr(SnapshotStore(container.snapshots["weather@1"] / "cube.zarr"), consolidated=False) as stored:
        north = stored.temperature.sel(latitude=slice(0, None)).isel(hour=slice(6, 12))
        print("mean of six hours in the north:", round(float(north.mean()), 1))

    # The last six hours are computed again: one chunk of eight changes.
    again = cube.isel(hour=slice(42, 48)) + np.float32(1)
    before = len(container)
    with container.snapshots.edit("weather") as draft:
        store = DraftStore(draft, "cube.zarr")
        again.drop_vars(["latitude", "longitude"]).to_zarr(store, region={"hour": slice(42, 48)}, consolidated=False)
        draft.message = "the last six hours anew"
    changed = [one.path for one in container.snapshots.diff("weather@1", "weather@2")]
    print("changed in weather@2:", *changed)
    print("new objects:", len(container) - before)
    container.close()


if __name__ == "__main__":
    main()
