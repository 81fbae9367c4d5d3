# nomad job run api.nomad.hcl: one allocation of moult on each client; releases come by the fleet, not by new allocations.
job "api" {
  type = "system"
  group "api" {
    network { mode = "host" }
    task "moult" {
      driver       = "raw_exec"
      kill_timeout = "60s" # more than --drain-timeout and --stop-timeout together
      config {
        command = "moult"
        args    = ["run", "--name", "api", "--check", "/healthz", "--fleet", "local/fleet.yaml", "--", "/srv/api/current/server.js"]
      }
      template {
        destination = "local/fleet.yaml"
        data        = <<YAML
servers: nats://10.0.0.5:4222
host: {{ env "attr.unique.hostname" }}
labels: { zone: {{ env "node.datacenter" }} }
deploy: cd /srv/api && ./fetch "$MOULT_RELEASE" && ln -sfn "releases/$MOULT_RELEASE" new && mv -T new current
YAML
      }
    }
  }
}
