"""What boto3 does with an S3 store, as a program of its own: one JSON line on standard output.

``push BUCKET PREFIX DIRECTORY COUNT``, ``pull BUCKET PREFIX COUNT``: 16 threads, an object for each file.
``gets BUCKET KEY COUNT LENGTH``: ranges at random places, one after another.
``spans BUCKET KEY COUNT LENGTH``: ranges one behind the other, 4 threads, each hashed.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from statistics import median
from typing import Any

import boto3

_CLIENTS = 16
_SPANS = 4


def _client(pool: int) -> Any:
    settings = boto3.session.Config(max_pool_connections=pool, retries={"max_attempts": 3})
    return boto3.client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"], config=settings)


def _all(do: Callable[[Any], int], parts: Iterable[Any], threads: int) -> dict[str, float]:
    begun = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        sizes = list(pool.map(do, parts))
    return {"seconds": time.perf_counter() - begun, "count": len(sizes), "size": sum(sizes)}


def push(bucket: str, prefix: str, directory: str, count: str) -> dict[str, float]:
    s3 = _client(_CLIENTS)
    paths = [os.path.join(top, name) for top, _, names in sorted(os.walk(directory)) for name in names][: int(count)]

    def put(path: str) -> int:
        with open(path, "rb") as file:
            data = file.read()
        s3.put_object(Bucket=bucket, Key=f"{prefix}/{os.path.basename(path)}", Body=data)
        return len(data)

    return _all(put, paths, _CLIENTS)


def pull(bucket: str, prefix: str, count: str) -> dict[str, float]:
    s3 = _client(_CLIENTS)
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{prefix}/")
    keys = [entry["Key"] for page in pages for entry in page["Contents"]][: int(count)]
    return _all(lambda key: len(s3.get_object(Bucket=bucket, Key=key)["Body"].read()), keys, _CLIENTS)


def _range(s3: Any, bucket: str, key: str, start: int, length: int) -> bytes:
    answer = s3.get_object(Bucket=bucket, Key=key, Range=f"bytes={start}-{start + length - 1}")
    data: bytes = answer["Body"].read()
    return data


def gets(bucket: str, key: str, count: str, length: str) -> dict[str, float]:
    s3 = _client(1)
    size, wanted = s3.head_object(Bucket=bucket, Key=key)["ContentLength"], int(length)
    chance = random.Random(1)
    taken = []
    for _ in range(int(count)):
        start = chance.randrange(max(size - wanted, 1))
        begun = time.perf_counter()
        _range(s3, bucket, key, start, wanted)
        taken.append(time.perf_counter() - begun)
    return {"seconds": sum(taken), "count": len(taken), "median": median(taken)}


def spans(bucket: str, key: str, count: str, length: str) -> dict[str, float]:
    s3 = _client(_SPANS)
    size, wanted = s3.head_object(Bucket=bucket, Key=key)["ContentLength"], int(length)
    starts = list(range(0, size, wanted))[: int(count)]

    def get(start: int) -> int:
        data = _range(s3, bucket, key, start, wanted)
        hashlib.sha256(data).digest()
        return len(data)

    return _all(get, starts, _SPANS)


_VERBS: dict[str, Callable[..., dict[str, float]]] = {"push": push, "pull": pull, "gets": gets, "spans": spans}

if __name__ == "__main__":
    print(json.dumps(_VERBS[sys.argv[1]](*sys.argv[2:])))
