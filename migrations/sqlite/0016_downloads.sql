-- Offers of files that are kept here wait until these can be served: who has still to fetch something, of all rollouts.
CREATE INDEX rollouts_fetching ON rollout_counters (rollout_no) WHERE granted + downloading > 0;

-- Downloads of nodes that were offered the file are never refused: whether there are such at an address.
CREATE INDEX nodes_fetching ON nodes (ip) WHERE status IN ('granted', 'downloading', 'downloaded');
