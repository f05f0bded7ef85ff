"""What registries have in common: the protocol's paths, Basic, and tokens of a service of their own (protocol.md
§3.1 and §3.2). Products derive from these and say in what they differ.

A registry's `hosts` are origins; those with `ingress` stand behind the nginx that ends TLS for the site.
"""
import json
import re
import time
import urllib.parse

from internet import Realm, Reply, error, from_registry

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
