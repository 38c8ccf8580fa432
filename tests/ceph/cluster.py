"""A Ceph of one node on loopback: mon, osd and rgw from Debian's packages, without docker. Standard library only.

Data are in a temporary directory, and gone with `Ceph.close`. Any number of them run beside each other.
"""

from __future__ import annotations

import http.client
import secrets
import shutil
import tempfile
import uuid
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.ceph.daemons import Daemon, Failed, free_port, run
from tests.ceph.endpoint import Endpoint
from tests.ceph.s3 import send

PACKAGES = ("ceph-mon", "ceph-osd", "radosgw", "ceph-common", "util-linux")
"""Debian's. A manager (ceph-mgr) is not needed: it only counts and balances."""
PROGRAMS = ("ceph-mon", "ceph-osd", "radosgw", "radosgw-admin", "ceph", "monmaptool", "setpriv")

BUCKET = "rsdos"
"""A bucket that is there from the beginning."""

# No authentication inside of the cluster, which listens on loopback; the gateway would insist on encryption then. One
# copy of everything, few placement groups, and memory for tests (0.2 GB in all). The monitor proposes changes at once,
# and not after a second each. The disk may be fuller than a cluster would like.
_CONFIG = """
[global]
fsid = {fsid}
mon host = [v2:127.0.0.1:{mon_port}/0]
public addr = 127.0.0.1
cluster addr = 127.0.0.1
ms bind ipv6 = false
auth cluster required = none
auth service required = none
auth client required = none
ms mon client mode = crc
keyring = {directory}/keyring
run dir = {directory}
admin socket =
pid file =
crash dir = {directory}/crash
log file = {directory}/$name.log
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 4
osd pool default pgp num = 4
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
mon max pg per osd = 1000
mon pg warn min per osd = 0

[mon]
mon data = {directory}/mon
mon initial members = a
paxos propose interval = 0.05
paxos min wait = 0.01
mon data avail crit = 1
mon data avail warn = 1
mon osd full ratio = 0.99
mon osd backfillfull ratio = 0.98
mon osd nearfull ratio = 0.97
# A killed OSD that comes back is up at once.
mon osd adjust down out interval = false
mon osd adjust heartbeat grace = false
mon osd min up ratio = 0
mon osd min in ratio = 0

[osd]
osd data = {directory}/osd
osd objectstore = bluestore
osd crush initial weight = 1
osd max object name len = 1024
bluestore block size = 17179869184
bluestore block db create = false
bluestore block wal create = false
bluestore cache autotune = false
bluestore cache size = 67108864
bluestore rocksdb options = compression=kNoCompression,max_write_buffer_number=4,write_buffer_size=8388608
bluestore throttle bytes = 33554432
osd op num shards = 2
osd op num threads per shard = 1
osd scrub begin hour = 0
osd scrub end hour = 0

[client.rgw]
rgw frontends = beast endpoint=127.0.0.1:{rgw_port} tcp_nodelay=1
rgw data = {directory}/rgw
rgw enable apis = s3, admin
rgw thread pool size = 64
rgw run sync thread = false
rgw dynamic resharding = false
rgw enable quota threads = false
rgw user max buckets = 1000000
"""


def missing() -> list[str]:
    """Return the programs that are not installed."""
    return [program for program in PROGRAMS if shutil.which(program) is None]


class Ceph:
    """A running Ceph. One thread makes, hurts and closes it; any number of programs use its `endpoint`."""

    def __init__(self) -> None:
        """Start it, which takes about 10 s. Raise `Failed`."""
        self.directory = Path(tempfile.mkdtemp(prefix="rsdos-ceph-"))
        self._config = self.directory / "ceph.conf"
        port = free_port()
        self.endpoint = Endpoint(f"http://127.0.0.1:{port}", secrets.token_hex(10), secrets.token_hex(20))
        self._address = ("127.0.0.1", port)
        self._mon = self._daemon("ceph-mon", "-i", "a")
        self._osd = self._daemon("ceph-osd", "-i", "0")
        self._rgw = self._daemon("radosgw", "-n", "client.rgw")
        try:
            self._make(free_port())
        except BaseException:
            self.close()
            raise

    def _daemon(self, program: str, *arguments: str) -> Daemon:
        command = (program, *arguments, "-c", str(self._config), "-f")
        return Daemon(command, self.directory / f"{program}.out")

    def _make(self, mon_port: int) -> None:
        fsid, osd = str(uuid.uuid4()), str(uuid.uuid4())
        values = {"fsid": fsid, "directory": self.directory, "mon_port": mon_port, "rgw_port": self._address[1]}
        self._config.write_text(_CONFIG.format(**values))
        for name in ("mon", "osd", "rgw", "crash"):
            (self.directory / name).mkdir()
        config, monmap = ("-c", str(self._config)), str(self.directory / "monmap")
        run("monmaptool", "--create", "--fsid", fsid, "--addv", "a", f"[v2:127.0.0.1:{mon_port}/0]", monmap)
        run("ceph-mon", *config, "--mkfs", "-i", "a", "--monmap", monmap)
        self._mon.start()
        run("ceph", *config, "osd", "new", osd, "0")
        run("ceph-osd", *config, "--mkfs", "-i", "0", "--osd-uuid", osd)
        self._osd.start()
        key, secret = self.endpoint.access_key, self.endpoint.secret_key
        user = ("user", "create", "--uid", "rsdos", "--display-name", "rsdos", "--caps", "users=*")
        run("radosgw-admin", *config, *user, "--access-key", key, "--secret-key", secret)
        self.start_rgw()
        if send(self.endpoint, "PUT", f"/{BUCKET}").status != 200:
            raise Failed("the first bucket could not be made")

    def start_rgw(self) -> None:
        """Start the gateway, and wait until it answers."""
        self._rgw.start()
        self._rgw.wait_until(self._answers)

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection(*self._address, timeout=10)
        try:
            connection.request("GET", "/")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def kill_rgw(self) -> None:
        """Kill the gateway (kill -9)."""
        self._rgw.kill()

    def start_osd(self) -> None:
        """Start the storage daemon. Requests that wait for it go on when it is up."""
        self._osd.start()

    def kill_osd(self) -> None:
        """Kill the storage daemon (kill -9). The gateway lets requests wait until it is back."""
        self._osd.kill()

    def close(self) -> None:
        """Kill all daemons and remove their data. Idempotent."""
        for daemon in (self._rgw, self._osd, self._mon):
            daemon.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
