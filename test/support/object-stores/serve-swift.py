"""OpenStack Swift with its S3 API, in one process: account, container, object and proxy server, one disk, one user.

    /usr/bin/python3 serve-swift.py DIRECTORY

Prints "ready PORT" when it serves on 127.0.0.1, and ends when its standard input does: so it never outlives whoever
started it. Swift's own start takes thirteen processes, each of which imports the same modules, and a file in /etc/swift;
this takes one, and everything is in DIRECTORY. The user is test:tester, the key testing, the region us-east-1.
"""

import os
import sys
import warnings
from time import time as now

warnings.filterwarnings("ignore")
import eventlet  # noqa: E402

eventlet.monkey_patch()
import eventlet.tpool  # noqa: E402
import eventlet.wsgi  # noqa: E402
from swift.common import utils  # noqa: E402

# Nothing here has to outlive a power loss.
os.fsync = os.fdatasync = lambda descriptor: None
directory = os.path.abspath(sys.argv[1])
etc = os.path.join(directory, "etc")
os.makedirs(etc)
os.makedirs(os.path.join(directory, "devices", "d1"))


class MemoryCache:
    """What Swift asks of memcached, and cannot do without."""

    def __init__(self):
        self.values = {}

    def get(self, key, raise_on_error=False):
        value, until = self.values.get(key, (None, 0))
        return value if until == 0 or now() < until else None

    def set(self, key, value, serialize=True, time=0, min_compress_len=0, raise_on_error=False):
        self.values[key] = (value, now() + time if time else 0)

    def incr(self, key, delta=1, time=0):
        value = int(self.get(key) or 0) + int(delta)
        self.set(key, value, time=time)
        return value

    def delete(self, key, server_key=None):
        self.values.pop(key, None)


def cache_filter(global_conf, **local_conf):
    cache = MemoryCache()

    def make(app):
        def serve_with_cache(env, start_response):
            env["swift.cache"] = cache
            return app(env, start_response)

        return serve_with_cache

    return make


def write(name, text):
    path = os.path.join(etc, name)
    with open(path, "w") as file:
        file.write(text)
    return path


utils.SWIFT_CONF_FILE = write(
    "swift.conf",
    "[swift-hash]\nswift_hash_path_prefix = a\nswift_hash_path_suffix = b\n"
    "[storage-policy:0]\nname = p0\ndefault = yes\n",
)
utils.validate_configuration()
from swift.common import storage_policy  # noqa: E402

storage_policy.reload_storage_policies()
from swift.common.ring.builder import RingBuilder  # noqa: E402
from swift.common.wsgi import SwiftHttpProtocol, loadapp  # noqa: E402

sockets = {name: eventlet.listen(("127.0.0.1", 0), backlog=512) for name in ("account", "container", "object", "proxy")}
PORTS = {name: socket.getsockname()[1] for name, socket in sockets.items()}
COMMON = f"""[DEFAULT]
bind_ip = 127.0.0.1
user = root
swift_dir = {etc}
devices = {directory}/devices
mount_check = false
disable_fallocate = true
log_address = /nonexistent
"""
PROXY = """[pipeline:main]
pipeline = catch_errors cache listing_formats s3api tempauth proxy-server
[app:proxy-server]
use = egg:swift#proxy
allow_account_management = true
account_autocreate = true
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:cache]
paste.filter_factory = __main__:cache_filter
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:s3api]
use = egg:swift#s3api
s3_acl = false
location = us-east-1
check_bucket_owner = false
allow_multipart_uploads = false
[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = testing .admin
"""


def config_of(name):
    text = COMMON + f"bind_port = {PORTS[name]}\n"
    if name == "proxy":
        return text + PROXY
    return text + f"[pipeline:main]\npipeline = {name}-server\n[app:{name}-server]\nuse = egg:swift#{name}\n"


for name in ("account", "container", "object"):
    builder = RingBuilder(0, 1, 0)
    builder.add_dev({"region": 1, "zone": 1, "ip": "127.0.0.1", "port": PORTS[name], "device": "d1", "weight": 1.0})
    builder.rebalance(seed=1)
    builder.get_ring().save(os.path.join(etc, f"{name}.ring.gz"))

log = open(os.path.join(directory, "swift.log"), "w")


def serve(name):
    app = loadapp(write(f"{name}-server.conf", config_of(name)))
    eventlet.spawn(
        eventlet.wsgi.server, sockets[name], app, log=log, protocol=SwiftHttpProtocol, log_output=False, debug=False
    )


for name in sockets:
    serve(name)
eventlet.sleep(0)
print(f"ready {PORTS['proxy']}", flush=True)
# Not os.read, which would hold every server.
while eventlet.tpool.execute(os.read, 0, 4096):
    pass
os._exit(0)
