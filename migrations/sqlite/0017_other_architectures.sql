-- Nodes that are in a group for another architecture are few, and to be found without a walk over the group. Most nodes are
-- amd64 (1), and not in this index.
CREATE INDEX nodes_arch ON nodes (group_no, arch) WHERE arch <> 1;
