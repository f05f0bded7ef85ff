"""Images of incompressible bytes in a folder that upstream.py serves:

    blobs/<digest>          layers, configurations and manifests alike
    tags/<repository>/<tag> the digest of its manifest, '/' in the repository written as '_'
"""
import hashlib
import json
import os

MIB = 1 << 20
# MiB of each layer in manifest order; the last one is the configuration (peers.md, section 8).
SHAPES = {"lab-app": [75, 30, 12, 1, 0.05, 0.001], "lab-big": [600, 100, 20, 0.1]}
CONFIG_BYTES = 1024
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


class Image:
    """repository, tag, manifest: its digest; blobs: digest to bytes, configuration first, in the order containerd asks."""

    def __init__(self, repository, tag, manifest, blobs):
        self.repository, self.tag, self.manifest, self.blobs = repository, tag, manifest, blobs

    def size(self):
        return sum(self.blobs.values())


def write_random(folder, size):
    digest, path = hashlib.sha256(), os.path.join(folder, "blobs/new")
    with open(path, "wb") as file:
        for left in range(size, 0, -MIB):
            part = os.urandom(min(left, MIB))
            digest.update(part)
            file.write(part)
    name = "sha256:" + digest.hexdigest()
    os.rename(path, os.path.join(folder, "blobs", name))
    return name


def write_bytes(folder, content):
    name = "sha256:" + hashlib.sha256(content).hexdigest()
    with open(os.path.join(folder, "blobs", name), "wb") as file:
        file.write(content)
    return name


def make_image(folder, shape, scale=1.0, repository=None, tag="1"):
    """Writes an image of the named shape, each layer `scale` times smaller."""
    repository = repository or "lab/" + shape.split("-")[1]
    os.makedirs(os.path.join(folder, "blobs"), exist_ok=True)
    sizes = [max(1024, int(mib * MIB / scale)) for mib in SHAPES[shape]]
    if sizes[-1] <= 2 * CONFIG_BYTES:
        sizes.pop()
    config = json.dumps({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []},
                         "config": {"Labels": {"filling": os.urandom(CONFIG_BYTES // 2).hex()}}}).encode()
    blobs = {write_bytes(folder, config): len(config)}
    layers = []
    for size in sizes:
        digest = write_random(folder, size)
        blobs[digest] = size
        layers.append({"mediaType": LAYER, "size": size, "digest": digest})
    manifest = json.dumps({"schemaVersion": 2, "mediaType": MANIFEST, "layers": layers,
                           "config": {"mediaType": CONFIG, "size": len(config), "digest": next(iter(blobs))}}).encode()
    digest = write_bytes(folder, manifest)
    tags = os.path.join(folder, "tags", repository.replace("/", "_"))
    os.makedirs(tags, exist_ok=True)
    with open(os.path.join(tags, tag), "w") as file:
        file.write(digest)
    return Image(repository, tag, digest, blobs)


class Gallery:
    """Images made once and used by every trial: (folder, image) by shape and scale."""

    def __init__(self, folder):
        self.folder, self.made = folder, {}

    def get(self, shape, scale):
        if (shape, scale) not in self.made:
            folder = os.path.join(self.folder, f"{shape}-{scale}")
            self.made[shape, scale] = (folder, make_image(folder, shape, scale))
        return self.made[shape, scale]


def place_in_storage(image, folder, storage):
    """The same image in the storage of a docker-registry (2.x, filesystem), by hard links."""
    base = os.path.join(storage, "docker/registry/v2")

    def link(path, digest):
        path = os.path.join(base, "repositories", image.repository, path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as file:
            file.write(digest)

    for digest in list(image.blobs) + [image.manifest]:
        hex_name = digest.split(":")[1]
        place = os.path.join(base, "blobs/sha256", hex_name[:2], hex_name)
        os.makedirs(place, exist_ok=True)
        os.link(os.path.join(folder, "blobs", digest), os.path.join(place, "data"))
        link(f"_layers/sha256/{hex_name}/link", digest)
    hex_name = image.manifest.split(":")[1]
    link(f"_manifests/revisions/sha256/{hex_name}/link", image.manifest)
    link(f"_manifests/tags/{image.tag}/current/link", image.manifest)
    link(f"_manifests/tags/{image.tag}/index/sha256/{hex_name}/link", image.manifest)


def wrong_files(store):
    """Finished blobs of a layerd store whose bytes do not have the digest of their name."""
    wrong = []
    for folder, _, names in os.walk(os.path.join(store, "blobs/sha256")):
        for name in names:
            digest = hashlib.sha256()
            with open(os.path.join(folder, name), "rb") as file:
                while part := file.read(MIB):
                    digest.update(part)
            if digest.hexdigest() != name:
                wrong.append(os.path.join(folder, name))
    return wrong
