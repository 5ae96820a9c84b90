/** What the server answers, as far as the command line looks at it. */
import type { BuildMetadata, VersionScheme } from "../rollout/model/configuration.ts";

export interface ApplicationView {
  readonly id: string;
  readonly name: string;
  readonly product_id: string | null;
  readonly description: string;
  readonly version_scheme: VersionScheme;
  readonly build_metadata: BuildMetadata;
  readonly created_ts: string;
  /** Null: none. */
  readonly groups: readonly GroupView[] | null;
  readonly channels: readonly ChannelView[] | null;
  readonly instances: { readonly count: number };
}

export interface GroupView {
  readonly id: string;
  readonly name: string;
  readonly description: string;
  readonly application_id: string;
  readonly track: string;
  readonly channel?: ChannelView;
  readonly policy_updates_enabled: boolean;
  readonly policy_safe_mode: boolean;
  readonly policy_office_hours: boolean;
  /** Null: none is set. */
  readonly policy_timezone: string | null;
  readonly policy_period_interval: string;
  readonly policy_max_updates_per_period: number;
  readonly policy_update_timeout: string;
  readonly strategy: StrategyView | null;
  /** What its next rollout goes by. */
  readonly effective_strategy: StrategyView;
  readonly maintenance_windows: readonly WindowView[];
  readonly freezes: readonly FreezeView[];
  /** Null: nothing. */
  readonly updates_stopped_by: "safe-mode" | null;
  readonly updates_stopped: {
    readonly since: string;
    readonly reason: string;
    readonly version: string;
    readonly instance_id: string;
  } | null;
}

export interface StrategyView {
  readonly stages?: readonly { readonly percent?: number; readonly bake?: string }[];
  readonly ramp?: { readonly start?: number | string; readonly grow?: number } | null;
  readonly health?: object | null;
}

export interface WindowView {
  readonly days?: readonly string[];
  readonly from: string;
  /** One of these two. */
  readonly to?: string;
  readonly length?: string;
}

export interface FreezeView {
  readonly from: string;
  readonly to: string;
  readonly reason?: string;
}

export interface ChannelView {
  readonly id: string;
  readonly name: string;
  readonly color: string;
  readonly arch: number;
  readonly created_ts: string;
  readonly package: PackageView | null;
  /** Of a change: what somebody should know. */
  readonly warnings?: readonly string[];
}

export interface PackageView {
  readonly id: string;
  readonly version: string;
  readonly arch: number;
  readonly type: number;
  readonly url: string;
  readonly filename: string | null;
  readonly description: string | null;
  readonly size: string | null;
  readonly hash: string | null;
  readonly hosting: string;
  /** What it lacks; until it has it, nobody is offered it. */
  readonly missing: readonly string[];
  readonly created_ts: string;
  readonly flatcar_action: { readonly sha256: string } | null;
  readonly extra_files: readonly FileView[] | null;
  readonly channels_blacklist: readonly string[] | null;
  readonly floor_reason?: string | null;
}

export interface FileView {
  readonly name: string;
  readonly size: string;
  readonly hash: string;
  readonly hash256: string;
}

export interface NodeView {
  readonly id: string;
  readonly ip: string;
  readonly oem: string;
  readonly alias: string;
  readonly created_ts: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly held: { readonly since: string; readonly by: string; readonly reason: string } | null;
  readonly own_group_id: string | null;
  /** Null: it is one machine's. */
  readonly shared_machine_id: {
    readonly since: string;
    readonly others: readonly { readonly version: string; readonly ip: string; readonly heard_until_ts: string }[];
  } | null;
  readonly application: {
    readonly group_id: string | null;
    readonly version: string;
    readonly state: string;
    readonly error_code: number | null;
    readonly last_check_for_updates: string;
    readonly last_update_granted_ts: string | null;
    readonly last_update_version: string | null;
    readonly update_in_progress: boolean;
  };
}

export interface WebhookView {
  readonly id: string;
  readonly name: string;
  readonly url: string;
  /** Empty: all. */
  readonly events: readonly string[];
  /** Null: all. */
  readonly applications: readonly string[] | null;
  readonly groups: readonly string[] | null;
  readonly enabled: boolean;
  readonly secret_ts: string;
  readonly created_ts: string;
  readonly created_by: string;
  readonly health: {
    readonly waiting: number;
    readonly last_success_ts: string | null;
    readonly last_failure_ts: string | null;
    readonly last_error: string | null;
    readonly consecutive_failures: number;
    readonly resting_until_ts: string | null;
  };
}
