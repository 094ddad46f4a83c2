"""A gRPC server with the standard health service, or without, as Python's own grpcio has it.

Arguments: the address that serves, the address that takes orders, where else to look for modules, and `health` or
`none`. `PUT /NOT_SERVING/orders.v1` is an order; it is answered once the health service says so.
"""

import sys
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer

ADDRESS, ORDERS, MODULES, HEALTH = sys.argv[1:]
sys.path.insert(0, MODULES)

import grpc  # noqa: E402
from grpc_health.v1 import health, health_pb2, health_pb2_grpc  # noqa: E402

service = health.HealthServicer()


class Orders(BaseHTTPRequestHandler):
    def do_PUT(self):
        status, name = self.path.removeprefix("/").split("/")
        service.set(name, health_pb2.HealthCheckResponse.ServingStatus.Value(status))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


# without the option, a second server at this address would be given a share of the connections, instead of an error
server = grpc.server(ThreadPoolExecutor(4), options=[("grpc.so_reuseport", 0)])
if HEALTH == "health":
    health_pb2_grpc.add_HealthServicer_to_server(service, server)
server.add_insecure_port(ADDRESS)
server.start()
host, port = ORDERS.split(":")
HTTPServer((host, int(port)), Orders).serve_forever()
