"""Which registries there are in the world of the tests, and at which names."""
from inside import (Distribution, Gitea, GitLab, Harbor, HarborCore, Nexus, NexusBearer, NexusWeb,
                    Traefik, Zot)
from public import (Aliyun, ArtifactRegistry, AzureAcr, DockerHub, Ecr, EcrPublic, Gcr, Ghcr, K8sRegistry, Quay,
                    Tencent)

HANGZHOU = "cn-hangzhou.aliyuncs.com"
CORE = "http://harbor-harbor-core.default.svc.cluster.local"
NEXUS_SERVICE = "http://nexus-nexus-repository-manager.platform.svc.cluster.local:5000"


def aliyun():
    return [
        Aliyun("registry." + HANGZHOU, "dockerauth." + HANGZHOU, Aliyun.region, "aliregistry.oss-" + HANGZHOU),
        Aliyun("crpi-abc123.cn-hangzhou.personal.cr.aliyuncs.com", "dockerauth.cn-hangzhou.personal.cr.aliyuncs.com",
               Aliyun.region, "crpi.oss-" + HANGZHOU, ("jane/",)),
        Aliyun("acme-registry.cn-hangzhou.cr.aliyuncs.com", "dockerauth-ee." + HANGZHOU,
               "registry.aliyuncs.com:cn-hangzhou:cri-acme", "cri-acme-registry.oss-" + HANGZHOU, ("prod/",)),
    ]


def harbors():
    behind = Harbor("http://harbor.corp.example", CORE + "/service/token", True, "/service/token")
    return [
        Harbor("http://10.0.24.28:30002", "http://10.0.24.28:30002/service/token"),
        Harbor("http://harbor-tls.corp.example", "http://harbor-tls.corp.example/service/token", True),
        behind,
    ], HarborCore(CORE, behind)


def members(folder):
    """Every host there is: registries, their storages and token servers."""
    harbor_registries, core = harbors()
    registries = [
        DockerHub(), Ghcr(), Quay(), ArtifactRegistry(), Gcr(), K8sRegistry(), Ecr(folder), EcrPublic(), AzureAcr(),
        *aliyun(),
        Tencent("ccr.ccs.tencentyun.com", "ccr-1300000000.cos.ap-guangzhou.myqcloud.com"),
        Tencent("acme.tencentcloudcr.com", "acme-1300000000.cos.ap-guangzhou.myqcloud.com"),
        *harbor_registries,
        NexusWeb(), NexusBearer(), Nexus(NEXUS_SERVICE), Nexus("http://docker.nexus.local", True),
        Nexus("https://nexus.corp.example:8443", False, "/repository/docker-group/v2/"),
        GitLab(), Gitea("git.corp.example", "https://git.corp.example/v2/token"),
        Gitea("gitea.corp.example", "http://gitea.corp.example/v2/token"), Traefik(folder), Zot(),
        Distribution()]
    return [member for registry in registries for member in registry.members()] + [core]
