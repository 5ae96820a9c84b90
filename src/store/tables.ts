/** The tables as Kysely sees them. One description for every engine; the SQL is in `migrations/`. */
import type { Generated } from "kysely";

type Flag = number; // 0 or 1

export interface Tables {
  meta: { revision: number };
  applications: {
    no: Generated<number>;
    id: string;
    product_id: string | null;
    name: string;
    description: string;
    created_at: number;
  };
  packages: {
    no: Generated<number>;
    id: string;
    application_no: number;
    type: number;
    version: string;
    arch: number;
    url: string;
    filename: string | null;
    description: string | null;
    size: string | null;
    hash: string | null;
    created_at: number;
  };
  flatcar_actions: {
    package_no: number;
    id: string;
    event: string;
    chromeos_version: string;
    sha256: string;
    needs_admin: Flag;
    is_delta: Flag;
    disable_payload_backoff: Flag;
    metadata_signature_rsa: string;
    metadata_size: string;
    deadline: string;
    created_at: number;
  };
  package_files: {
    no: Generated<number>;
    package_no: number;
    name: string;
    size: string;
    hash: string;
    hash256: string;
    created_at: number;
  };
  channels: {
    no: Generated<number>;
    id: string;
    application_no: number;
    name: string;
    color: string;
    arch: number;
    package_no: number | null;
    created_at: number;
  };
  channel_floors: { channel_no: number; package_no: number; reason: string | null; created_at: number };
  package_blacklist: { package_no: number; channel_no: number };
  groups: {
    no: Generated<number>;
    id: string;
    application_no: number;
    name: string;
    description: string;
    channel_no: number | null;
    track: string;
    policy_updates_enabled: Flag;
    policy_safe_mode: Flag;
    policy_office_hours: Flag;
    policy_timezone: string;
    policy_period_interval: string;
    policy_max_updates_per_period: number;
    policy_update_timeout: string;
    created_at: number;
  };
  rollouts: {
    no: Generated<number>;
    id: string;
    group_no: number;
    package_no: number;
    state: string;
    stages: string;
    retry: string;
    created_at: number;
    state_at: number;
  };
  rollout_history: {
    no: Generated<number>;
    rollout_no: number;
    at: number;
    from_state: string | null;
    to_state: string;
    actor: string;
    reason: string;
    counters: string;
  };
  rollout_counters: {
    rollout_no: number;
    granted: Generated<number>;
    downloading: Generated<number>;
    downloaded: Generated<number>;
    installed: Generated<number>;
    complete: Generated<number>;
    failed: Generated<number>;
    timed_out: Generated<number>;
    rolled_back: Generated<number>;
    lost: Generated<number>;
    withdrawn: Generated<number>;
  };
  group_counters: { group_no: number; in_flight: number; slices: string };
  tokens: { no: Generated<number>; id: string; name: string; hash: string; created_at: number };
  nodes: {
    no: Generated<number>;
    id: string;
    application_no: number;
    group_no: number;
    version: string;
    arch: number;
    machine_alias: string;
    alias: Generated<string>;
    ip: string;
    oem: string;
    oem_version: string;
    aleph_version: string;
    boot_id: string;
    broken_quotes: Flag;
    created_at: number;
    status: string;
    status_at: number;
    rollout_no: number | null;
    grant_group_no: number | null;
    grant_version: string | null;
    from_version: string | null;
    needs_reboot: Flag | null;
    granted_at: number | null;
    attempt: number | null;
    grant_boot_id: string | null;
    deadline: number | null;
    error_code: number | null;
  };
  seen: { node_no: number; at: number };
  past_grants: {
    no: Generated<number>;
    rollout_no: number;
    node_no: number;
    status: string;
    version: string;
    granted_at: number;
    ended_at: number;
    attempt: number;
    error_code: number | null;
  };
  status_history: {
    no: Generated<number>;
    node_no: number;
    at: number;
    status: string;
    version: string;
    group_no: number;
    rollout_no: number | null;
    error_code: number | null;
  };
  events: {
    no: Generated<number>;
    node_no: number;
    at: number;
    type: number;
    result: number;
    error_code: number | null;
    version: string;
    previous_version: string;
  };
  activity: {
    no: Generated<number>;
    id: string;
    at: number;
    class: number;
    severity: number;
    application_no: number;
    group_no: number | null;
    channel_no: number | null;
    instance_id: string | null;
    version: string;
  };
  node_counts: { group_no: number; version: string; status: string; count: number };
}
