"""A private network of the Linux kernel: a namespace held by one thread, a TUN device in it, sockets made in it.

The namespace belongs to a thread (unshare(2)) and has no name, so nothing outside is touched and nothing is left
behind: it is gone when the thread has ended and its sockets and devices are closed, even when the process is killed.
A socket stays in the namespace where it was made and may be used from any thread.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import queue
import shutil
import socket
import struct
import subprocess
import threading
from collections.abc import Callable, Sequence
from ipaddress import IPv4Interface, IPv6Interface
from pathlib import Path
from typing import Any

CLONE_NEWNET = 0x40000000
TUNSETIFF = 0x400454CA
IFF_TUN = 0x0001
IFF_NO_PI = 0x1000
DEVICE = "tun0"
SYSCTL = Path("/proc/sys/net")


def missing() -> str | None:
    """Why such a network cannot be made here; None when it can."""
    if os.geteuid() != 0:
        return "needs root"
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        return "needs /dev/net/tun"
    if shutil.which("ip") is None:
        return "needs the command ip"
    return None


class Namespace:
    def __init__(self) -> None:
        self._jobs: queue.Queue[tuple[Callable[[], Any], queue.Queue[tuple[Any, BaseException | None]]] | None]
        self._jobs = queue.Queue()
        self._thread = threading.Thread(target=self._work, name="namespace", daemon=True)
        self._thread.start()
        self._files: list[int] = []
        self._sockets: list[socket.socket] = []
        self.call(_unshare)
        self.ip("link set lo up")

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            function, answer = job
            try:
                answer.put((function(), None))
            except BaseException as error:
                answer.put((None, error))

    def call(self, function: Callable[[], Any]) -> Any:
        """Run this inside the namespace."""
        answer: queue.Queue[tuple[Any, BaseException | None]] = queue.Queue()
        self._jobs.put((function, answer))
        value, error = answer.get(timeout=30)
        if error is not None:
            raise error
        return value

    def ip(self, *commands: str) -> None:
        """Commands of ip(8), without its name."""
        for command in commands:
            done = self.call(
                lambda command=command: subprocess.run(["ip", *command.split()], capture_output=True, text=True)
            )
            if done.returncode:
                raise OSError(f"ip {command}: {done.stderr.strip()}")

    def sysctl(self, name: str, value: object) -> None:
        """`name` below net/, e.g. `ipv4/tcp_congestion_control`. Only this namespace sees it."""
        self.call(lambda: (SYSCTL / name).write_text(f"{value}\n"))

    def get_sysctl(self, name: str) -> str:
        return str(self.call(lambda: (SYSCTL / name).read_text())).strip()

    def tun(self, addresses: Sequence[IPv4Interface | IPv6Interface], mtu: int) -> int:
        """A TUN device, up, with these addresses and the default routes; returns its file descriptor, not blocking.
        It takes part in no offloading: what is read from it are whole packets of at most `mtu` bytes."""
        descriptor: int = self.call(_open_tun)
        self._files.append(descriptor)
        if SYSCTL.joinpath("ipv6").exists():
            self.sysctl(f"ipv6/conf/{DEVICE}/router_solicitations", 0)
        for address in addresses:
            self.ip(f"-{address.version} addr add {address} dev {DEVICE}" + (" nodad" if address.version == 6 else ""))
        self.ip(f"link set {DEVICE} mtu {mtu} txqueuelen 20000 up")
        for version in {address.version for address in addresses}:
            self.ip(f"-{version} route add default dev {DEVICE}")
        return descriptor

    def socket(self, family: int, kind: int, protocol: int = 0) -> socket.socket:
        made: socket.socket = self.call(lambda: socket.socket(family, kind, protocol))
        self._sockets.append(made)
        return made

    def close(self) -> None:
        for each in self._sockets:
            each.close()
        for descriptor in self._files:
            os.close(descriptor)
        self._files.clear()
        self._jobs.put(None)
        self._thread.join(timeout=10)


def _unshare() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "unshare(CLONE_NEWNET)")


def _open_tun() -> int:
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    fcntl.ioctl(descriptor, TUNSETIFF, struct.pack("16sH22x", DEVICE.encode(), IFF_TUN | IFF_NO_PI))
    return descriptor
