"""The Kubernetes manifests are well formed, and fit together."""

import json
import os

import pytest
import yaml

import processes
from monolith_tf.cluster import EXIT_RESTART
from monolith_tf.cluster import parse_tf_config


@pytest.fixture(scope="module")
def objects(repository_root):
    """{(kind, name): object} of all manifests."""
    found = {}
    paths = sorted((repository_root / "examples/kubernetes").glob("*.yaml"))
    assert paths
    for path in paths:
        for one in yaml.safe_load_all(path.read_text()):
            key = one["kind"], one["metadata"]["name"]
            assert key not in found
            assert one["apiVersion"]
            found[key] = one
    return found


def pods(objects):
    return {
        one["spec"]["template"]["metadata"]["labels"]["role"]: one["spec"][
            "template"
        ]
        for one in objects.values()
        if "template" in one.get("spec", {})
    }


def test_every_role_has_pods_that_the_service_finds(objects):
    assert sorted(pods(objects)) == ["chief", "ps", "worker"]
    selector = objects["Service", "ranker"]["spec"]["selector"]
    for pod in pods(objects).values():
        assert selector.items() <= pod["metadata"]["labels"].items()


def test_what_is_mounted_exists(objects):
    for pod in pods(objects).values():
        volumes = {v["name"]: v for v in pod["spec"]["volumes"]}
        for container in pod["spec"]["containers"]:
            for mount in container["volumeMounts"]:
                volume = volumes[mount["name"]]
                if "configMap" in volume:
                    key = "ConfigMap", volume["configMap"]["name"]
                else:
                    claim = volume["persistentVolumeClaim"]["claimName"]
                    key = "PersistentVolumeClaim", claim
                assert key in objects


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("role", "kind", "name"),
    [
        ("ps", "StatefulSet", "ranker-ps"),
        ("worker", "StatefulSet", "ranker-worker"),
        ("chief", "Job", "ranker-chief"),
    ],
)
def test_every_pod_gets_its_place_in_the_cluster(
    objects, tmp_path, role, kind, name
):
    data = objects["ConfigMap", "ranker-cluster"]["data"]
    (tmp_path / "cluster.json").write_text(data["cluster.json"])
    script = data["start.sh"].replace("/etc/ranker", str(tmp_path))
    (tmp_path / "start.sh").write_text(script)
    spec = objects[kind, name]["spec"]
    replicas = spec.get("replicas", 1)
    pod = spec["template"]["spec"]
    assert pod["containers"][0]["command"][-1] == role
    for index in range(replicas):
        host = f"{name}-{index}" if kind == "StatefulSet" else pod["hostname"]
        done = processes.run(
            ["sh", tmp_path / "start.sh", role, "printenv", "TF_CONFIG"],
            env={"HOSTNAME": host, "PATH": os.environ["PATH"]},
        )
        cluster, found, place = parse_tf_config(done.stdout)
        assert (found, place) == (role, index)
        assert len(cluster[role]) == replicas
        assert cluster[role][index] == f"{host}.ranker:2222"
        assert json.loads(done.stdout)["cluster"] == cluster


def test_a_chief_that_wants_to_come_back_is_no_failure(objects):
    policy = objects["Job", "ranker-chief"]["spec"]["podFailurePolicy"]
    (rule,) = policy["rules"]
    assert rule["onExitCodes"]["operator"] == "NotIn"
    assert EXIT_RESTART in rule["onExitCodes"]["values"]
