"""The registries that layerd's users have, as protocol.md §3 tells of them: who challenges how, who gives tokens to whom,
where the bytes are, and what is odd. One class a product; each oddity names its section. Accounts are made up.

A registry's `hosts` are origins; those with `ingress` stand behind the nginx that ends TLS for the site.
"""
import json
import re
import time
import urllib.parse

from internet import Realm, Reply, Storage, error, from_registry

FOLDER = ""
TOKENS = {}  # token: (registry, repositories, good until)
HTML = "<!DOCTYPE html><html><head><title>%s</title></head><body>Welcome</body></html>"


class Registry:
    hosts, certificate, ingress = [], "public", False
    prefix = "/v2/"    # under which it speaks the registry's protocol
    web = None         # title of the pages everywhere else; None: 404
    storage = None     # where blobs are redirected to
    redirect = 307
    accounts = {}      # user: password
    public = ()        # beginnings of repositories that anybody may pull

    def members(self):
        return [self] + ([self.storage] if self.storage else [])

    def answer(self, rq):
        if not (rq.path.rstrip("/") + "/").startswith(self.prefix):
            return self.elsewhere(rq)
        if rq.path.rstrip("/") + "/" == self.prefix:
            return self.ping(rq)
        asked = rq.object(self.prefix)
        if not rq.is_read or not asked:
            return error(405, "UNSUPPORTED", "the operation is unsupported")
        return self.gate(rq, asked[0]) or self.deliver(rq, *asked)

    def elsewhere(self, _):
        return Reply(200, HTML % self.web, kind="text/html") if self.web else Reply(404, "not found", kind="text/plain")

    def ping(self, rq):
        return self.gate(rq, None) or Reply(200, "{}", [("Docker-Distribution-Api-Version", "registry/2.0")])

    def gate(self, rq, repository):
        """The refusal, or None."""

    def deliver(self, rq, repository, kind, reference):
        path = "/v2/%s/%s/%s" % (repository, kind, reference)
        if kind == "blobs" and rq.method == "GET" and self.storage:
            return Reply(self.redirect, "", [("Location", self.location(rq, path, reference))], None)
        return from_registry(rq, path)

    def location(self, rq, path, digest):
        rq.path = path
        return self.storage.location(rq, digest)

    def is_public(self, repository):
        return repository is not None and repository.startswith(tuple(self.public))

    def knows(self, account):
        return account is not None and self.accounts.get(account[0]) == account[1]


class Basic(Registry):
    challenge = 'Basic realm="Registry Realm"'

    def gate(self, rq, repository):
        if self.knows(rq.basic) or (not rq.authorization and self.is_public(repository)):
            return None
        return error(401, "UNAUTHORIZED", "authentication required", [("WWW-Authenticate", self.challenge)])


class Bearer(Registry):
    realm, service = "", None
    token_at = None        # where tokens really are when the realm in the challenge is wrong
    lifetime = 300         # None: it does not say
    token_key = "token"
    methods = ("GET",)     # of the token endpoint
    refused_token = 401    # for wrong accounts

    def members(self):
        url = urllib.parse.urlsplit(self.token_at or self.realm)
        origin = "%s://%s" % (url.scheme, url.netloc)
        realm = [] if origin in self.hosts or self.ingress else [Realm(origin, self)]
        if realm:
            realm[0].certificate = self.certificate
        return super().members() + realm

    def answer(self, rq):
        if rq.path == urllib.parse.urlsplit(self.token_at or self.realm).path:
            return self.token(rq)
        return super().answer(rq)

    # What its 401 says. A ping's has no scope (§3.1).
    def challenges(self, _, repository):
        scope = ',scope="repository:%s:pull"' % repository if repository else ""
        return ['Bearer realm="%s",service="%s"%s' % (self.realm, self.service, scope)]

    def unauthorized(self, rq, repository, more=""):
        return error(401, "UNAUTHORIZED", "authentication required",
                     [("WWW-Authenticate", line + more) for line in self.challenges(rq, repository)])

    def gate(self, rq, repository):
        registry, repositories, until = TOKENS.get(rq.bearer, (None, (), 0))
        if registry is not self or time.time() > until:
            return self.unauthorized(rq, repository)
        return None if repository is None or repository in repositories else self.no_right(rq, repository)

    # A token with less access than asked is a normal 200; the refusal comes with the resource (§3.2).
    def no_right(self, rq, repository):
        return self.unauthorized(rq, repository, ',error="insufficient_scope"')

    def token(self, rq):
        if rq.method not in self.methods:
            return error(405, "UNSUPPORTED", "method not allowed")
        if rq.method == "POST":
            return self.token_by_post(rq)
        if rq.authorization and not self.knows(rq.basic):
            return error(self.refused_token, "UNAUTHORIZED", "incorrect username or password")
        return self.grant(rq.basic[0] if rq.basic else None, rq.query.get("service"), rq.query.get("scope", []))

    def token_by_post(self, _):
        return error(400, "UNSUPPORTED", "unsupported grant type")

    def grant(self, user, service, scopes):
        if service != ([self.service] if self.service else None):
            return error(400, "DENIED", "service is %s" % service)
        asked = [re.match(r"repository:(.+):([a-z,*]+)$", scope) for scope in scopes]
        if not all(asked):
            return error(400, "DENIED", "bad scope")
        mine = {scope.group(1) for scope in asked if self.may_pull(user, scope.group(1))}
        token = "%s.%s.%d" % (type(self).__name__, re.sub("[^a-z0-9]", "-", user or "anonymous"), len(TOKENS) + 1)
        TOKENS[token] = (self, mine, time.time() + (self.lifetime or 60))
        answer = {self.token_key: token}
        if self.lifetime:
            answer["expires_in"] = self.lifetime
        return Reply(200, json.dumps(answer))

    def may_pull(self, user, repository):
        return user is not None or self.is_public(repository)


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
    """§3.4 quay.io: /v2/ is `true` as text/html, unknown repositories are 401, 404 is a web page, no POST for tokens."""
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
        return error(403, "DENIED", "Permission artifactregistry.repositories.downloadArtifacts denied on " + repository)

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

    def gate(self, rq, repository):
        with open(FOLDER + "/ecr.password", encoding="utf-8") as current:
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


class Harbor(Bearer):
    """§3.4 Harbor: realm from external_url, 30 minutes, web pages wherever a project is missing in the path."""
    service, lifetime, web = "harbor-registry", 1800, "Harbor"
    certificate = "site"
    accounts = {"robot$bootcamp+puller": "s3cret$!@"}
    public = ("dockerhub-proxy/",)

    def __init__(self, host, realm, ingress=False, token_at=None):
        self.hosts, self.realm, self.ingress, self.token_at = [host], realm, ingress, token_at

    # The project, a proxy cache's too, is part of the repository's name.
    def answer(self, rq):
        if rq.path.startswith("/v2/") and rq.object() and "/" not in rq.object()[0]:
            return self.elsewhere(rq)
        return super().answer(rq)


class HarborCore(Realm):
    """The service inside the cluster that a realm may name (harbor #10522)."""
    certificate = "site"


class Nexus(Basic):
    """§3.4 Nexus: a connector of its own by port; Basic for everything."""
    challenge = 'BASIC realm="Sonatype Nexus Repository Manager"'
    certificate = "site"
    accounts = {"puller": "n3xus$!"}

    def __init__(self, host, ingress=False, prefix="/v2/"):
        self.hosts, self.ingress, self.prefix = [host], ingress, prefix
        self.web = None if prefix == "/v2/" else "Nexus Repository Manager"


class NexusBearer(Bearer):
    """§3.1 Nexus with the Bearer realm: null://, its service called null (nexus-public #628, #565)."""
    hosts, certificate = ["https://nexus.corp.example:8082"], "site"
    realm, service = "null://nexus.corp.example:8082/v2/token", "null"
    token_at = "https://nexus.corp.example:8082/v2/token"
    accounts, public, lifetime = {"puller": "n3xus$!"}, ("open/",), None

    def token(self, rq):
        if rq.method != "GET" or (rq.authorization and not self.knows(rq.basic)):
            return error(401, "UNAUTHORIZED", "access to the requested resource is not authorized")
        return self.grant(rq.basic and rq.basic[0], ["null"], rq.query.get("scope", []))


class NexusWeb(Registry):
    """§3.4: without a connector the same host and port serves web pages."""
    hosts, certificate, web, prefix = ["https://nexus.corp.example"], "site", "Nexus Repository Manager", "/none/"


class GitLab(Bearer):
    """§3.4 GitLab: the realm on another host than the registry."""
    hosts, certificate = ["https://registry.gitlab.corp.example"], "site"
    realm, service = "https://gitlab.corp.example/jwt/auth", "container_registry"
    accounts = {"gitlab+deploy-token-7": "gldt-s3cret"}

    def members(self):
        return Registry.members(self) + [GitLabDependencyProxy(self)]


class GitLabDependencyProxy(Bearer):
    """§3.4: under the names of groups, at GitLab itself; one realm for both."""
    hosts, certificate = ["https://gitlab.corp.example"], "site"
    realm, service, web = "https://gitlab.corp.example/jwt/auth", "dependency_proxy", "GitLab"
    accounts = GitLab.accounts

    def __init__(self, registry):
        self.registry = registry

    def token(self, rq):
        is_mine = rq.query.get("service") == [self.service]
        return super().token(rq) if is_mine else self.registry.token(rq)


class Gitea(Bearer):
    """§3.4 Gitea: two challenges, the Bearer without service or scope, {"token"} and nothing else, no ranges; a wrong
    ROOT_URL makes the realm http."""
    certificate, ingress, lifetime, public = "site", True, None, ("open/",)
    accounts = {"jenkins": "gitea s3cret"}

    def __init__(self, host, realm):
        self.hosts, self.realm = ["http://" + host], realm

    def challenges(self, *_):
        return ['Bearer realm="%s"' % self.realm, "Basic"]

    def deliver(self, rq, repository, kind, reference):
        del rq.headers["Range"]
        reply = super().deliver(rq, repository, kind, reference)
        reply.headers = [header for header in reply.headers if header[0].lower() != "accept-ranges"]
        return reply


class Zot(Basic):
    """§3.4 zot: Basic."""
    hosts, certificate, challenge = ["https://zot.corp.example:5000"], "site", 'Basic realm="Authorization Required"'
    accounts = {"reader": "z0t"}


class Distribution(Basic):
    """§3.4 distribution with htpasswd, behind the site's ingress; cert-manager's authority."""
    hosts, certificate, ingress = ["http://registry.platform.example"], "site", True
    accounts = {"platform": "s3cret"}


def members(folder):
    global FOLDER
    FOLDER = folder
    inside = "http://harbor-harbor-core.default.svc.cluster.local"
    harbor = Harbor("http://harbor.corp.example", inside + "/service/token", True, "/service/token")
    bucket = "aliregistry.oss-cn-hangzhou.aliyuncs.com"
    all_registries = [
        DockerHub(), Ghcr(), Quay(), ArtifactRegistry(), K8sRegistry(), Ecr(), EcrPublic(), AzureAcr(),
        Aliyun("registry.cn-hangzhou.aliyuncs.com", "dockerauth.cn-hangzhou.aliyuncs.com", Aliyun.region, bucket),
        Aliyun("crpi-abc123.cn-hangzhou.personal.cr.aliyuncs.com", "dockerauth.cn-hangzhou.personal.cr.aliyuncs.com",
               Aliyun.region, "crpi.oss-cn-hangzhou.aliyuncs.com", ("jane/",)),
        Aliyun("acme-registry.cn-hangzhou.cr.aliyuncs.com", "dockerauth-ee.cn-hangzhou.aliyuncs.com",
               "registry.aliyuncs.com:cn-hangzhou:cri-acme", "cri-acme-registry.oss-cn-hangzhou.aliyuncs.com",
               ("prod/",)),
        Tencent("ccr.ccs.tencentyun.com", "ccr-1300000000.cos.ap-guangzhou.myqcloud.com"),
        Tencent("acme.tencentcloudcr.com", "acme-1300000000.cos.ap-guangzhou.myqcloud.com"),
        Harbor("http://10.0.24.28:30002", "http://10.0.24.28:30002/service/token"),
        Harbor("http://harbor-tls.corp.example", "http://harbor-tls.corp.example/service/token", True),
        harbor, NexusWeb(), NexusBearer(),
        Nexus("http://nexus-nexus-repository-manager.platform.svc.cluster.local:5000"),
        Nexus("http://docker.nexus.local", True), Nexus("https://nexus.corp.example:8443", False,
                                                        "/repository/docker-group/v2/"),
        GitLab(), Gitea("git.corp.example", "https://git.corp.example/v2/token"),
        Gitea("gitea.corp.example", "http://gitea.corp.example/v2/token"), Zot(), Distribution()]
    core = HarborCore(inside, harbor)
    seen, found = set(), []
    for member in [each for registry in all_registries for each in registry.members()] + [core]:
        if id(member) not in seen:
            seen.add(id(member))
            found.append(member)
    return found
