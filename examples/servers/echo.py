"""Answers each datagram with JSON: what came, how often one came, and the name of the time zone."""
import argparse
import asyncio
import json
import time


class Echo(asyncio.DatagramProtocol):
    count = 0

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, address):
        self.count += 1
        answer = {"echo": data.decode(errors="replace"), "count": self.count, "zone": time.tzname[0]}
        self.transport.sendto(json.dumps(answer).encode(), address)


async def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--port", type=int, default=7070)
    port = arguments.parse_args().port
    await asyncio.get_running_loop().create_datagram_endpoint(Echo, local_addr=("0.0.0.0", port))
    await asyncio.Event().wait()


asyncio.run(main())
