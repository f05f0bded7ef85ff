"""Registries that sites run themselves, as protocol.md §3 tells of them. Each oddity names its section. Accounts are
made up, and all have certificates of the site's own authority.
"""
import os

from dialects import Basic, Bearer, Registry
from internet import Realm, Reply, error


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


class Traefik(Registry):
    """users.md: a registry behind Traefik, which is played here. Without a route for the host it says what every Go
    server says (net/http.NotFound), as text."""
    hosts, certificate = ["https://traefik.corp.example"], "site"

    def __init__(self, folder):
        self.route = folder + "/traefik.route"

    def answer(self, rq):
        if os.path.exists(self.route):
            return super().answer(rq)
        return Reply(404, "404 page not found\n", [("X-Content-Type-Options", "nosniff")], "text/plain; charset=utf-8")


class Zot(Basic):
    """§3.4 zot: Basic."""
    hosts, certificate, challenge = ["https://zot.corp.example:5000"], "site", 'Basic realm="Authorization Required"'
    accounts = {"reader": "z0t"}


class Distribution(Basic):
    """§3.4 distribution with htpasswd, behind the site's ingress; cert-manager's authority."""
    hosts, certificate, ingress = ["http://registry.platform.example"], "site", True
    accounts = {"platform": "s3cret"}
