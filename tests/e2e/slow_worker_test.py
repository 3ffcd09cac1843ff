"""A slow worker does not hold the others."""


def test_a_slow_worker_does_only_its_own_steps_slowly(cluster_run):
    slow, fast = cluster_run.report("slow_worker")
    assert slow + fast == 80
    assert fast > 3 * slow
