"""Registries of the internet, as protocol.md §3 tells of them: who challenges how, who gets tokens, where the bytes
are. Each oddity names its section. Accounts are made up.
"""
import re

from dialects import HTML, TOKENS, Basic, Bearer, Registry
from internet import Reply, Storage, error, from_registry


class DockerHub(Bearer):
    """§3.4 Docker Hub: library/, a CDN, limits that count GET of manifests alone, 401 for what is not there."""
    hosts = ["https://registry-1.docker.io"]
    realm, service = "https://auth.docker.io/token", "registry.docker.io"
    accounts = {"alice": "dckr_pat_s3cret", "paying": "dckr_pat_s3cret"}
    public = ("library/", "acme/open")
    storage = Storage("production.cloudflare.docker.com", "/registry-v2/docker/registry/v2/blobs/sha256/{hex}/data",
                      parameter="verify")
    spent = {}  # who: manifests got

    def deliver(self, rq, repository, kind, reference):
        reply = super().deliver(rq, repository, kind, reference)
        user = rq.bearer.split(".")[1]
        if reply.status == 404 and kind == "manifests" and not repository.startswith("library/"):
            return self.no_right(rq, repository)  # missing and private are one thing (docker-library PR #33)
        if kind != "manifests" or user == "paying":
            return reply
        limit = 200 if user == "alice" else 100
        self.spent[user] = self.spent.get(user, 0) + (rq.method == "GET")
        is_over = repository == "library/limited"
        left = 0 if is_over else max(limit - self.spent[user], 0)
        headers = [("ratelimit-limit", "%d;w=21600" % limit), ("ratelimit-remaining", "%d;w=21600" % left),
                   ("docker-ratelimit-source", "203.0.113.7")]
        if is_over and rq.method == "GET":
            return error(429, "TOOMANYREQUESTS", "You have reached your pull rate limit. You may increase the limit by "
                         "authenticating and upgrading: https://www.docker.com/increase-rate-limit", headers)
        reply.headers += headers
        return reply


class Ghcr(Bearer):
    """§3.4 GHCR: no token at all for what one may not see; an index only for those who say they know OCI's."""
    hosts = ["https://ghcr.io"]
    realm, service = "https://ghcr.io/token", "ghcr.io"
    accounts = {"octocat": "ghp_s3cret"}
    public = ("acme/open",)
    storage = Storage("pkg-containers.githubusercontent.com", "/ghcr1/blobs/sha256:{hex}", parameter="sig",
                      refusal=Storage.AZURE)

    def grant(self, user, service, scopes):
        if any(not self.may_pull(user, scope.split(":")[1]) for scope in scopes):
            return error(403, "DENIED", "requested access to the resource is denied")
        return super().grant(user, service, scopes)

    def deliver(self, rq, repository, kind, reference):
        if kind == "manifests" and "application/vnd.oci.image.index.v1+json" not in rq.headers.get("Accept", ""):
            return error(404, "MANIFEST_UNKNOWN", "OCI index found, but Accept header does not support OCI indexes")
        return super().deliver(rq, repository, kind, reference)


class Quay(Bearer):
    """§3.4 quay.io: /v2/ is `true` as text/html, unknown repositories are 401, 404 is a web page, no
    POST for tokens."""
    hosts = ["https://quay.io"]
    realm, service = "https://quay.io/v2/auth", "quay.io"
    accounts = {"acme+puller": "s3cret$quay"}
    public = ("acme/open",)
    storage = Storage("cdn01.quay.io", "/quayio-production-s3/sha256/{hex}")

    def ping(self, rq):
        return self.gate(rq, None) or Reply(200, "true", kind="text/html; charset=utf-8")

    def deliver(self, rq, repository, kind, reference):
        reply = super().deliver(rq, repository, kind, reference)
        return Reply(404, HTML % "Not found", kind="text/html") if reply.status == 404 else reply


class ArtifactRegistry(Bearer):
    """§3.4 gcr.io and Artifact Registry: the challenge on /v2/ alone (§3.1), relative redirects that want the token
    (§3.3), several ranges are 400, no POST; what is public does not care about a token."""
    hosts = ["https://europe-docker.pkg.dev", "https://europe-west4-docker.pkg.dev"]
    service, redirect = "europe-docker.pkg.dev", 302
    realm = "https://europe-docker.pkg.dev/v2/token"
    key = '{\n  "type": "service_account",\n  "private_key": "-----BEGIN PRIVATE KEY-----\\nMIIE$"\n}'
    accounts = {"_json_key": key, "oauth2accesstoken": "ya29.s3cret"}
    open = "k8s-artifacts-prod/"
    storage = True
    public = ()

    def members(self):
        return [self]

    def gate(self, rq, repository):
        if repository and repository.startswith(self.open):
            return None
        refused = super().gate(rq, repository)
        if refused and repository and refused.status == 401:
            refused.headers = [header for header in refused.headers if header[0] != "WWW-Authenticate"]
        return refused

    def no_right(self, _, repository):
        return error(403, "DENIED", "Permission artifactregistry.repositories.downloadArtifacts denied: " + repository)

    def location(self, rq, path, digest):
        TOKENS[digest] = (None, path, 0)
        return "/artifacts-downloads/namespaces/acme/repositories/prod/downloads/" + digest

    def elsewhere(self, rq):
        if not rq.path.startswith("/artifacts-downloads/"):
            return Reply(404, HTML % "Error 404", kind="text/html")
        _, path, _ = TOKENS.get(rq.path.rpartition("/")[2], (None, None, 0))
        repository = re.match("/v2/(.+)/blobs/", path).group(1)
        if "," in rq.headers.get("Range", ""):
            return Reply(400, "", kind="text/html")
        return self.gate(rq, repository) or from_registry(rq, path)


class Gcr(ArtifactRegistry):
    """§3.4 gcr.io: the same under its old name, with public images."""
    hosts, service, realm = ["https://gcr.io"], "gcr.io", "https://gcr.io/v2/token"
    public = ("acme/open",)


class K8sRegistry(Registry):
    """§3.4 registry.k8s.io: no accounts; everything is redirected, to hosts chosen by where one is."""
    hosts = ["https://registry.k8s.io"]

    class Bucket(Storage):
        def location(self, rq, digest):
            self.SIGNED[digest] = (self.host, "/v2/k8s-artifacts-prod/images" + rq.path[3:])
            return "https://%s/containers/images/%s" % (self.host, digest)

        def answer(self, rq):
            rq.query[self.parameter] = [rq.path.rpartition("/")[2]]
            return super().answer(rq)
    storage = Bucket("prod-registry-k8s-io-eu-central-1.s3.dualstack.eu-central-1.amazonaws.com", takes_head=True)

    def deliver(self, rq, repository, kind, reference):
        if kind == "blobs":
            return Reply(307, "", [("Location", self.location(rq, rq.path, reference))], None)
        return Reply(307, "", [("Location", "https://europe-west4-docker.pkg.dev/v2/k8s-artifacts-prod/images/%s/%s/%s"
                                % (repository, kind, reference))], None)


class Ecr(Basic):
    """§3.4 ECR private: Basic with AWS and a password that a helper gets for 12 h; an old one is 403 (§3.1); S3."""
    hosts = ["https://123456789012.dkr.ecr.eu-west-1.amazonaws.com"]
    challenge = 'Basic realm="https://123456789012.dkr.ecr.eu-west-1.amazonaws.com/",service="ecr.amazonaws.com"'
    storage = Storage("prod-eu-west-1-starport-layer-bucket.s3.eu-west-1.amazonaws.com", "/1a2b/123456789012/{hex}")

    def __init__(self, folder):
        self.folder = folder

    def gate(self, rq, repository):
        with open(self.folder + "/ecr.password", encoding="utf-8") as current:
            self.accounts = {"AWS": current.read()}
        if rq.basic and rq.basic[0] == "AWS" and not self.knows(rq.basic):
            return error(403, "DENIED", "Your authorization token has expired. Reauthenticate and try again.")
        return super().gate(rq, repository)


class EcrPublic(Bearer):
    """§3.4 public.ecr.aws: anonymous tokens, CloudFront."""
    hosts = ["https://public.ecr.aws"]
    realm, service, lifetime = "https://public.ecr.aws/token/", "public.ecr.aws", 43200
    public = ("acme/",)
    storage = Storage("d2glxqk2uabbnd.cloudfront.net", "/docker/{hex}", parameter="Signature")


class AzureAcr(Bearer):
    """§3.4 Azure ACR: access_token, refresh tokens by POST, passwords by GET alone (§3.2), blob storage that takes no
    Authorization (§3.3)."""
    hosts = ["https://contoso.azurecr.io"]
    realm, service = "https://contoso.azurecr.io/oauth2/token", "contoso.azurecr.io"
    token_key, lifetime, methods = "access_token", None, ("GET", "POST")
    accounts = {"contoso": "s3cret+/=="}
    refresh_token = "eyJhbGciOiJSUzI1NiJ9.s3cret"
    storage = Storage("contosoweu.blob.core.windows.net", "/9f8e//docker/registry/v2/blobs/sha256/{hex}/data",
                      refusal=Storage.AZURE, parameter="sig")

    def token_by_post(self, rq):
        if rq.form.get("grant_type") != ["refresh_token"]:
            return error(400, "UNSUPPORTED", "unsupported grant type")
        if rq.form.get("refresh_token") != [self.refresh_token]:
            return error(401, "UNAUTHORIZED", "invalid refresh token")
        return self.grant("refreshed", rq.form.get("service"), rq.form.get("scope", [""])[0].split())


class Aliyun(Bearer):
    """§3.4 Aliyun ACR: three groups of hosts (registry, auth, OSS), a service with colons (§3.1), 400 for an empty
    scope (§3.2); users.md 4: a personal account is right at its own domain alone."""
    accounts = {"jane@aliyun.com": "p$w!@:#%"}
    region = "registry.aliyuncs.com:cn-hangzhou:26842"

    def __init__(self, host, auth, service, bucket, rights=()):
        self.hosts, self.realm, self.service = ["https://" + host], "https://%s/auth" % auth, service
        self.storage = Storage(bucket, "/docker/registry/v2/blobs/sha256/{hex}/data", parameter="Signature")
        self.rights = rights

    def may_pull(self, user, repository):
        return user is not None and repository.startswith(self.rights)

    def no_right(self, *_):
        return error(403, "DENIED", "requested access to the resource is denied")


class Tencent(Bearer):
    """§3.4 Tencent: long-lived and temporary passwords, COS."""
    accounts = {"100012345678": "s3cret", "tcr$puller": "eyJhb.s3cret"}

    def __init__(self, host, bucket):
        self.hosts, self.realm, self.service = ["https://" + host], "https://%s/service/token" % host, host
        self.storage = Storage(bucket, "/docker/registry/v2/blobs/sha256/{hex}/data", parameter="q-signature")
