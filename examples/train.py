"""Shows: training with torch on the files of a snapshot, read in bulk from the container and never written out.
Needs: pip install 'rsdos[torch]'; a CPU is enough.
Run:   python train.py DIRECTORY    (a new one, for the container)
"""

import sys

import numpy as np
import torch
from torch.utils.data import DataLoader

from rsdos import Container
from rsdos.integrations.torch_dataset import PackLocalSampler, SnapshotDataset


def store_images(container: Container) -> None:
    """Save 2,000 images of 8 x 8 points as files: half of them are brighter on the left."""
    random = np.random.default_rng(0)
    with container.snapshots.edit("images") as draft:
        for number in range(2000):
            kind = "left" if number % 2 else "right"
            image = random.normal(size=(8, 8)).astype("float32")
            image[:, :4] += 1 if kind == "left" else 0
            draft[f"train/{kind}/{number}.raw"] = image.tobytes()
        draft.message = "two kinds of images"


def decode(path: str, data: bytes) -> tuple[torch.Tensor, int]:
    """Return the image of a file, and its kind, which is the name of its directory."""
    return torch.frombuffer(bytearray(data), dtype=torch.float32), int(path.split("/")[1] == "left")


def main() -> None:
    torch.manual_seed(0)
    with Container.create(sys.argv[1]) as container:
        store_images(container)

    # A version that never changes, and not the branch "images", which moves: note it down beside the model.
    version = "images@1"
    dataset = SnapshotDataset(sys.argv[1], version, "train/**/*.raw", transform=decode)
    sampler = PackLocalSampler(dataset, seed=0)  # shuffled, but neighbours in the packs are read together
    loader = DataLoader(dataset, batch_size=100, sampler=sampler)

    model = torch.nn.Linear(64, 2)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for epoch in range(5):
        sampler.set_epoch(epoch)
        right = 0
        for images, kinds in loader:
            scores = model(images)
            loss = torch.nn.functional.cross_entropy(scores, kinds)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            right += int((scores.argmax(1) == kinds).sum())
        print(f"epoch {epoch + 1}: {right / len(dataset):.0%} right")
    print(f"trained on {version}, {len(dataset)} files, {dataset.snapshot_key[:8]}")


if __name__ == "__main__":
    main()
