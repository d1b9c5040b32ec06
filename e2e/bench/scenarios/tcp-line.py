"""A line between this machine and a network namespace of its own, which real TCP crosses: a rate, a delay and a loss.

  python3 tcp-line.py NAMESPACE MBIT_PER_S ONE_WAY_MS LOSS SEED

It relays packets between two TUN devices: 10.193.0.1 here, 10.193.0.2 in the namespace. Packets from there to here take
their turn at the rate, are dropped where more than 100 ms of them wait, and are lost with the given probability; both
ways are delayed. Needs root. Prints "ready", and runs until its standard input ends.
"""
import fcntl
import os
import random
import select
import struct
import subprocess
import sys
import time
from collections import deque

TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000
QUEUE_S = 0.1
PACKET_BYTES = 65_536


def open_tun(name):
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH", name.encode(), IFF_TUN | IFF_NO_PI))
    return device


def ip(*words, namespace=None):
    inside = ["-n", namespace] if namespace else []
    subprocess.run(["ip", *inside, *words], check=True)


class Way:
    """One direction: packets in the order in which they leave."""

    def __init__(self, source, target, bytes_per_s, delay_s, loss, seed):
        self.source, self.target = source, target
        self.bytes_per_s, self.delay_s, self.loss = bytes_per_s, delay_s, loss
        self.random = random.Random(seed)
        self.free_at = 0.0
        self.waiting = deque()

    def take(self, now):
        while True:
            try:
                packet = os.read(self.source, PACKET_BYTES)
            except BlockingIOError:
                return
            self.free_at = max(self.free_at, now)
            if self.free_at - now > QUEUE_S:
                continue
            self.free_at += len(packet) / self.bytes_per_s
            if self.random.random() >= self.loss:
                self.waiting.append((self.free_at + self.delay_s, packet))

    def give(self, now):
        while self.waiting and self.waiting[0][0] <= now:
            try:
                os.write(self.target, self.waiting.popleft()[1])
            except BlockingIOError:
                return


def main():
    namespace, rate, one_way_ms, loss, seed = sys.argv[1:6]
    subprocess.run(["ip", "netns", "add", namespace], check=True)
    try:
        here, there = open_tun("line-here"), open_tun("line-there")
        ip("link", "set", "line-there", "netns", namespace)
        ip("addr", "add", "10.193.0.1/30", "dev", "line-here")
        ip("link", "set", "line-here", "up")
        ip("addr", "add", "10.193.0.2/30", "dev", "line-there", namespace=namespace)
        for device in ("lo", "line-there"):
            ip("link", "set", device, "up", namespace=namespace)
        delay_s = float(one_way_ms) / 1_000
        ways = [
            Way(there, here, float(rate) * 1e6 / 8, delay_s, float(loss), int(seed)),
            Way(here, there, float("inf"), delay_s, 0.0, int(seed)),
        ]
        print("ready", flush=True)
        while True:
            due = min((way.waiting[0][0] for way in ways if way.waiting), default=float("inf"))
            timeout = max(0.0, min(due - time.monotonic(), 1.0))
            readable, _, _ = select.select([here, there, sys.stdin], [], [], timeout)
            if sys.stdin in readable:
                return
            for way in ways:
                now = time.monotonic()
                way.take(now)
                way.give(now)
    finally:
        subprocess.run(["ip", "netns", "del", namespace], check=False)


main()
