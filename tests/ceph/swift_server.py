"""All four servers of Swift in one process, for `swift.py`; run by Debian's Python, which has them.

``swift_server.py DIRECTORY PORT``: the proxy with s3api listens on the port; a file "ready" appears when it does.
"""

# mypy: ignore-errors
import sys
from pathlib import Path

import eventlet
import eventlet.wsgi

eventlet.patcher.monkey_patch()

from swift.common import utils  # noqa: E402
from swift.common.ring import RingBuilder  # noqa: E402
from swift.common.wsgi import loadapp  # noqa: E402

SERVERS = ("account", "container", "object")

STORAGE = """
[DEFAULT]
devices = {directory}/devices
mount_check = false
swift_dir = {directory}
[pipeline:main]
pipeline = server
[app:server]
use = egg:swift#{name}
"""

PROXY = """
[DEFAULT]
swift_dir = {directory}
[pipeline:main]
pipeline = catch_errors gatekeeper listing_formats s3api tempauth copy slo proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:gatekeeper]
use = egg:swift#gatekeeper
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:s3api]
use = egg:swift#s3api
location = us-east-1
[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = testing .admin
[filter:copy]
use = egg:swift#copy
[filter:slo]
use = egg:swift#slo
"""


class Memory:
    """What s3api asks of memcached, which it insists on; nothing is ever found, so that nothing is ever old."""

    def get(self, key, *_, **__):
        """Find nothing."""
        return None

    def set(self, key, value, *_, **__):
        """Keep nothing."""

    def delete(self, key, *_, **__):
        """Keep nothing."""


def main(directory: Path, port: int) -> None:
    """Make rings, and serve until killed."""
    utils.HASH_PATH_SUFFIX = b"rsdos"
    (directory / "devices" / "disk").mkdir(parents=True)
    sockets = {name: eventlet.listen(("127.0.0.1", 0)) for name in SERVERS}
    for name, listening in sockets.items():
        # 2 partitions, one copy, and no hours between two changes.
        builder = RingBuilder(1, 1, 0)
        device = {"id": 0, "region": 1, "zone": 1, "ip": "127.0.0.1", "device": "disk", "weight": 1.0}
        builder.add_dev(
            {
                **device,
                "port": listening.getsockname()[1],
                "replication_ip": "127.0.0.1",
                "replication_port": listening.getsockname()[1],
            }
        )
        builder.rebalance()
        builder.get_ring().save(str(directory / f"{name}.ring.gz"))
    for name, listening in sockets.items():
        conf = directory / f"{name}.conf"
        conf.write_text(STORAGE.format(directory=directory, name=name))
        eventlet.spawn(eventlet.wsgi.server, listening, loadapp(str(conf)))
    conf = directory / "proxy.conf"
    conf.write_text(PROXY.format(directory=directory))
    app, memory = loadapp(str(conf)), Memory()
    listening = eventlet.listen(("127.0.0.1", port))
    (directory / "ready").touch()
    eventlet.wsgi.server(listening, lambda environ, start: app({**environ, "swift.cache": memory}, start))


main(Path(sys.argv[1]), int(sys.argv[2]))
