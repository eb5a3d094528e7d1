"""The part of the table of cases that is about URLs, profiles and what a job overrides of them."""

from __future__ import annotations

from typing import Any

from support.manifests.base_manifests import DIGEST, Case

OVER = "spec.cluster.overrides"
RESERVED_KEY = "must not have keys of seedbed.dev, app.kubernetes.io, kubernetes.io, autoscaler or AppArmor"
RESERVED_NAME = (
    "names a variable that only the operator sets, or that decides about code, credentials or bits"
)
ASCENDING = "must not have .. in a URL"
PUBLIC_KEY = """-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAvW4XGEadKh0VJSx06zZ3/DAZ/lM+fT8n4gaLk0oG8hQ=
-----END PUBLIC KEY-----
"""
TRUSTED_ROOT = '{"certificateAuthorities":[{}],"tlogs":[{}],"ctlogs":[{}]}'
AN_IDENTITY = {"issuer": "https://issuer.example", "subject": "anna@example.com", "trustedRoot": TRUSTED_ROOT}
FULL_PROFILE: dict[str, Any] = {
    "spec.imagePullPolicy": "Always",
    "spec.imagePullSecrets": ["registry"],
    "spec.driver": {"resources": {"cpu": "500m"}, "nodeSelector": {"pool": "cpu"}},
    "spec.worker": {
        "resources": {"cpu": "1.5", "memory": "0.5Gi", "ephemeralStorage": "1G"},
        "gpu": {"count": 2},
        "workersPerPod": 2,
        "topologySpread": {"mode": "Required", "topologyKey": "topology.kubernetes.io/zone"},
    },
    "spec.cache": {"type": "HostPath", "hostPath": {"path": "/var/cache/seedbed"}, "sizeLimit": "1Ti"},
    "spec.storage": {"endpointURL": "http://minio.storage.svc:9000", "region": "eu-central-1"},
    "spec.runtimeClassName": "nvidia",
    "spec.labels": {"example.org/cost-center": "17", "tier": ""},
    "spec.annotations": {"karpenter.sh/do-not-disrupt": "true", "note": "two\nlines"},
    "spec.env": [{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}, {"name": "EMPTY", "value": ""}],
    "spec.allowedOverrides": [
        *("image", "imagePullSecrets", "cpu", "memory", "workersPerPod", "serviceAccountName"),
        *("priorityClassName", "labels", "annotations", "env"),
    ],
    "spec.allowedImages": ["registry.example:5000/team/", "seedbed", "localhost/a/b__c"],
    "spec.allowedServiceAccounts": ["trainer"],
    "spec.allowedPriorityClasses": ["low"],
    "spec.allowedLabels": ["example.org/", "example.net/team", "team"],
    "spec.allowedAnnotations": ["example.org/"],
    "spec.allowedEnv": ["WANDB_MODE"],
    "spec.allowedPersistentVolumeClaims": ["datasets"],
    "spec.signaturePolicy": {
        "minimum": 1,
        "keys": [
            {
                "name": "cluster-a",
                "role": "Operator",
                "publicKey": PUBLIC_KEY,
                "namespaces": ["vision", "team-*"],
                "images": ["registry.example:5000/team/seedbed@*"],
                "validUntil": "2031-01-01T00:00:00Z",
            }
        ],
        "identities": [
            {
                "issuer": "https://issuer.example",
                "subject": "https://kubernetes.io/namespaces/vision/serviceaccounts/*",
                "trustedRoot": TRUSTED_ROOT,
                "validUntil": "2031-01-01T00:00:00Z",
            }
        ],
    },
}
FULL_OVERRIDES = {
    "image": f"registry.example:5000/team/mine:v1@{DIGEST}",
    "imagePullSecrets": ["registry"],
    "cpu": "250m",
    "memory": "1.5Gi",
    "workersPerPod": 4,
    "serviceAccountName": "trainer",
    "priorityClassName": "low",
    "labels": {"example.org/team": "vision"},
    "annotations": {"example.org/note": "free text: {}\n"},
    "env": [{"name": "WANDB_MODE", "value": "$(HOME) stays as it stands"}],
}

CLUSTER_CASES: dict[str, Case] = {
    # URLs
    "a claim": Case(change={"spec.dataset.uri": "pvc://datasets/small"}),
    "a whole claim": Case(change={"spec.output.uri": "pvc://runs"}),
    "a path above the working folder": Case(change={"spec.dataset.uri": "../data"}),
    "dots within a name": Case(change={"spec.dataset.uri": "s3://datasets/v1..2/..a"}),
    "a URL that leads out of its folder": Case(
        change={"spec.dataset.uri": "s3://datasets/small/../../private"},
        line="spec.dataset.uri: must not have .. in a URL (got 's3://datasets/small/../../private'); "
        "write the folder that is meant",
        server=ASCENDING,
    ),
    "a URL that leads out of its folder in escapes": Case(
        change={"spec.output.uri": "https://runs.example/mine%2F%2e./private"},
        line="spec.output.uri: must not have .. in a URL",
        server=ASCENDING,
    ),
    "code that lies beside its folder": Case(
        change={"spec.model": {"entrypoint": "mine.net:Net", "code": {"uri": "s3://code/.."}}},
        line="spec.model.code.uri: must not have .. in a URL",
        server=ASCENDING,
    ),
    "a password in a URL": Case(
        change={"spec.output.uri": "s3://key:secret@runs"},
        line="spec.output.uri: must not hold a user or password",
        server="must not hold a user or password",
    ),
    "an at sign in a folder": Case(change={"spec.output.uri": "s3://runs/me@example.org"}),
    "no claim": Case(
        change={"spec.dataset.uri": "pvc:///small"},
        line="spec.dataset.uri: must name a claim after pvc:// (got 'pvc:///small'); "
        "write for example pvc://claim/folder",
        server="must name a claim after pvc://",
    ),
    "a claim that leads out of its folder": Case(
        change={"spec.dataset.uri": "pvc://datasets/../other"},
        line="spec.dataset.uri: must not have .. in a URL",
        server=ASCENDING,
    ),
    # overrides
    "every override": Case(change={OVER: FULL_OVERRIDES}),
    "an override of the node": Case(
        change={f"{OVER}.nodeName": "control-plane"},
        line=f"{OVER}.nodeName: is not a field (got 'control-plane'); ",
        server="unknown field",
    ),
    "an image by tag in an override": Case(
        change={OVER: {"image": "registry.example/mine:latest"}},
        line=f"{OVER}.image: must be an image by digest (got 'registry.example/mine:latest'); "
        "write for example registry.example/seedbed@sha256:<64 hexadecimal digits>",
    ),
    "no memory": Case(
        change={OVER: {"memory": "0"}},
        line=f"{OVER}.memory: must be an amount of bytes as Kubernetes writes it (got '0'); "
        "write for example 512Mi or 16Gi",
    ),
    "thousandths of a byte": Case(
        change={OVER: {"memory": "500m"}},
        line=f"{OVER}.memory: must be an amount of bytes as Kubernetes writes it (got '500m')",
    ),
    "no cores": Case(
        change={OVER: {"cpu": "0.0"}},
        line=f"{OVER}.cpu: must be CPU cores in quotes (got '0.0'); write for example",
    ),
    "a label of the operator": Case(
        change={OVER: {"labels": {"seedbed.dev/job": "other"}}},
        line=f"{OVER}.labels: {RESERVED_KEY} (got ",
        server=RESERVED_KEY,
    ),
    "a label without name": Case(
        change={OVER: {"labels": {"example.org/": "x"}}},
        line=f"{OVER}.labels: must have keys like those of labels: a name, or a domain, a slash and a name",
        server_accepts=True,
    ),
    "a label of giant length": Case(
        change={OVER: {"labels": {"x" * 318: "x"}}},
        line=f"{OVER}.labels: must have keys of at most 317 characters",
        server="must have keys of at most 317 characters",
    ),
    "a label with blanks": Case(
        change={OVER: {"labels": {"team": "a b"}}},
        line=f"{OVER}.labels.team: must be the value of a label",
    ),
    "an annotation of the cluster autoscaler": Case(
        change={OVER: {"annotations": {"cluster-autoscaler.kubernetes.io/safe-to-evict": "true"}}},
        line=f"{OVER}.annotations: {RESERVED_KEY} (got ",
        server=RESERVED_KEY,
    ),
    "a variable that loads code": Case(
        change={OVER: {"env": [{"name": "LD_PRELOAD", "value": "/tmp/x.so"}]}},
        line=f"{OVER}.env[0].name: {RESERVED_NAME} (got 'LD_PRELOAD'); remove it",
        server=RESERVED_NAME,
    ),
    "a variable twice": Case(
        change={OVER: {"env": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]}},
        line=f"{OVER}.env: has name A more than once",
        server="Duplicate value",
    ),
    "a variable of two lines": Case(
        change={OVER: {"env": [{"name": "A", "value": "1\n2"}]}},
        line=f"{OVER}.env[0].value: must not have control characters",
    ),
    "a variable that is no word": Case(
        change={OVER: {"env": [{"name": "A=B", "value": "1"}]}},
        line=f"{OVER}.env[0].name: must be the name of a variable",
    ),
    # profiles
    "a profile with everything": Case(kind="TrainingProfile", change=FULL_PROFILE),
    "an image by tag": Case(
        kind="TrainingProfile",
        change={"spec.image": "registry.example/seedbed:latest"},
        line="spec.image: must be an image by digest (got 'registry.example/seedbed:latest'); "
        "write for example registry.example/seedbed@sha256:<64 hexadecimal digits>",
    ),
    "an image that leads out of its repository": Case(
        kind="TrainingProfile",
        change={"spec.image": f"registry.example/team/../other/seedbed@{DIGEST}"},
        line="spec.image: must be an image by digest",
    ),
    "memory in words": Case(
        kind="TrainingProfile",
        change={"spec.worker": {"resources": {"memory": "16 GB"}}},
        line="spec.worker.resources.memory: must be an amount of bytes as Kubernetes writes it (got '16 GB'); "
        "write for example 512Mi or 16Gi",
    ),
    "an override that cannot be allowed": Case(
        kind="TrainingProfile",
        change={"spec.allowedOverrides": ["gpu"]},
        line="spec.allowedOverrides[0]: must be 'image', 'imagePullSecrets', 'cpu', 'memory', 'workersPerPod', ",
    ),
    "a cache on a claim": Case(
        kind="TrainingProfile",
        change={
            "spec.cache": {"type": "PersistentVolumeClaim", "persistentVolumeClaim": {"claimName": "cache"}}
        },
    ),
    "a cache on no claim": Case(
        kind="TrainingProfile",
        change={"spec.cache": {"type": "PersistentVolumeClaim"}},
        line="spec.cache.persistentVolumeClaim.claimName: is missing (got nothing); write it",
        server="is needed with type PersistentVolumeClaim",
    ),
    "a cache of two kinds": Case(
        kind="TrainingProfile",
        change={"spec.cache": {"hostPath": {"path": "/var/cache"}}},
        line="spec.cache.hostPath: is only allowed with type HostPath",
        server="is only allowed with type HostPath",
    ),
    "a cache above a folder": Case(
        kind="TrainingProfile",
        change={"spec.cache": {"type": "HostPath", "hostPath": {"path": "/var/cache/../../etc"}}},
        line="spec.cache.hostPath.path: must be an absolute path whose folders do not begin with a dot",
    ),
    "an endpoint with a password": Case(
        kind="TrainingProfile",
        change={"spec.storage": {"endpointURL": "https://me:secret@s3.example.org"}},
        line="spec.storage.endpointURL: must be an http or https URL without user and query",
    ),
    "a pin as a variable of the profile": Case(
        kind="TrainingProfile",
        change={"spec.env": [{"name": "OMP_NUM_THREADS", "value": "8"}]},
        line=f"spec.env[0].name: {RESERVED_NAME} (got 'OMP_NUM_THREADS'); remove it",
        server=RESERVED_NAME,
    ),
    "a credential as an allowed variable": Case(
        kind="TrainingProfile",
        change={"spec.allowedEnv": ["AWS_ENDPOINT_URL"]},
        line=f"spec.allowedEnv: {RESERVED_NAME} (got ['AWS_ENDPOINT_URL']); remove it",
        server=RESERVED_NAME,
    ),
    "labels of the operator allowed": Case(
        kind="TrainingProfile",
        change={"spec.allowedLabels": ["app.kubernetes.io/"]},
        line=f"spec.allowedLabels: {RESERVED_KEY} (got ['app.kubernetes.io/'])",
        server=RESERVED_KEY,
    ),
    "all labels allowed": Case(
        kind="TrainingProfile",
        change={"spec.allowedLabels": ["*"]},
        line="spec.allowedLabels[0]: must be the key of a label, or a domain that ends in a slash",
    ),
    "images of a tag allowed": Case(
        kind="TrainingProfile",
        change={"spec.allowedImages": ["registry.example/team/seedbed:latest"]},
        line="spec.allowedImages[0]: must be a registry or a repository without tag and digest",
    ),
    "a claim among the URLs": Case(
        kind="TrainingProfile",
        change={"spec.allowedURIPrefixes": ["pvc://datasets"]},
        line="spec.allowedURIPrefixes: must not have pvc:// (got ['pvc://datasets']); list claims in",
        server="must not have pvc://",
    ),
    "a policy that nobody fulfils": Case(
        kind="TrainingProfile",
        change={"spec.signaturePolicy": {"minimum": 1}},
        line="spec.signaturePolicy.minimum: is more than there are keys and identities (got 1); list more signers",
        server="is more than there are keys and identities",
    ),
    "a private key in a policy": Case(
        kind="TrainingProfile",
        change={
            "spec.signaturePolicy": {
                "keys": [
                    {
                        "name": "mine",
                        "role": "User",
                        "publicKey": PUBLIC_KEY.replace("PUBLIC", "PRIVATE"),
                    }
                ]
            }
        },
        line="spec.signaturePolicy.keys[0].name: is that of a private key, which nobody else may read (got 'mine')",
        server="is that of a private key",
    ),
    "a policy that a pattern may fulfil alone": Case(
        kind="TrainingProfile",
        change={
            "spec.signaturePolicy": {
                "minimum": 3,
                "identities": [{**AN_IDENTITY, "subject": "*@example.com"}],
            }
        },
    ),
    "a policy with one identity for two signatures": Case(
        kind="TrainingProfile",
        change={"spec.signaturePolicy": {"minimum": 2, "identities": [AN_IDENTITY]}},
        line="spec.signaturePolicy.minimum: is more than there are keys and identities (got 2); list more",
        server="is more than there are keys and identities",
    ),
    "the path of a trusted root, which pods do not have": Case(
        kind="TrainingProfile",
        change={
            "spec.signaturePolicy": {"identities": [{**AN_IDENTITY, "trustedRoot": "trusted_root.json"}]}
        },
        line="spec.signaturePolicy.identities: have a trustedRoot that is no JSON document",
        server="have a trustedRoot that is no JSON document",
    ),
    "a trusted root without a log": Case(
        kind="TrainingProfile",
        change={
            "spec.signaturePolicy": {
                "identities": [
                    {**AN_IDENTITY, "trustedRoot": '{"certificateAuthorities":[{}],"ctlogs":[{}]}'}
                ]
            }
        },
        line="spec.signaturePolicy.identities[0].trustedRoot: lists no tlogs (got '…'); write the trusted_root",
        server_accepts=True,
    ),
    "an identity of any issuer": Case(
        kind="TrainingProfile",
        change={"spec.signaturePolicy": {"identities": [{**AN_IDENTITY, "issuer": "https://*"}]}},
        line="spec.signaturePolicy.identities[0].issuer: must be the whole issuer of the tokens",
    ),
    "text in the place of a key": Case(
        kind="TrainingProfile",
        change={"spec.signaturePolicy": {"keys": [{"name": "mine", "role": "User", "publicKey": "abc"}]}},
        line="spec.signaturePolicy.keys[0].publicKey: holds no public key in PEM (got '…'); write what",
        server_accepts=True,
    ),
    "a spread of no kind": Case(
        kind="TrainingProfile",
        change={"spec.worker": {"topologySpread": {"mode": "Even"}}},
        line="spec.worker.topologySpread.mode: must be 'Preferred', 'Required' or 'None' (got 'Even')",
    ),
}
