CREATE TABLE attempts (
	run_id VARCHAR(128) NOT NULL,
	attempt INTEGER NOT NULL,
	uid VARCHAR(32) NOT NULL,
	status VARCHAR(16) NOT NULL,
	began_at_step INTEGER,
	config JSON NOT NULL,
	config_hash VARCHAR(64),
	git_commit VARCHAR(64),
	git_diff_hash VARCHAR(64),
	versions JSON NOT NULL,
	host TEXT,
	accelerator TEXT,
	processes INTEGER DEFAULT '1' NOT NULL,
	started_at DOUBLE NOT NULL,
	finished_at DOUBLE,
	exit_reason TEXT,
	heartbeat_at DOUBLE,
	PRIMARY KEY (run_id, attempt),
	UNIQUE (uid)
);
CREATE TABLE epoch_records (
	id INTEGER NOT NULL,
	run INTEGER NOT NULL,
	attempt INTEGER NOT NULL,
	phase VARCHAR(8) NOT NULL,
	epoch INTEGER NOT NULL,
	step INTEGER NOT NULL,
	loss DOUBLE,
	kl DOUBLE,
	created_at DOUBLE NOT NULL,
	superseded BOOLEAN DEFAULT 0 NOT NULL,
	PRIMARY KEY (id)
);
CREATE INDEX ix_epoch_records_run_step ON epoch_records (run, step);
CREATE TABLE lineage (
	id INTEGER NOT NULL,
	run_id VARCHAR(128) NOT NULL,
	attempt INTEGER NOT NULL,
	kind VARCHAR(16) NOT NULL,
	reference TEXT NOT NULL,
	source_run_id VARCHAR(128),
	PRIMARY KEY (id),
	CONSTRAINT uq_lineage UNIQUE (run_id, attempt, kind, reference)
);
CREATE TABLE losses (
	run_id VARCHAR(128) NOT NULL,
	attempt INTEGER NOT NULL,
	rank INTEGER NOT NULL,
	sink VARCHAR(64) NOT NULL,
	reason TEXT NOT NULL,
	events INTEGER NOT NULL,
	created_at DOUBLE NOT NULL,
	PRIMARY KEY (run_id, attempt, rank, sink)
);
CREATE TABLE metric_records (
	id INTEGER NOT NULL,
	run INTEGER NOT NULL,
	attempt INTEGER NOT NULL,
	phase VARCHAR(8) NOT NULL,
	step INTEGER NOT NULL,
	epoch DOUBLE,
	metrics JSON NOT NULL,
	created_at DOUBLE NOT NULL,
	superseded BOOLEAN DEFAULT 0 NOT NULL,
	PRIMARY KEY (id)
);
CREATE INDEX ix_metric_records_run_step ON metric_records (run, step);
CREATE TABLE notices (
	id INTEGER NOT NULL,
	run_id VARCHAR(128) NOT NULL,
	attempt INTEGER NOT NULL,
	level VARCHAR(8) NOT NULL,
	message TEXT NOT NULL,
	created_at DOUBLE NOT NULL,
	PRIMARY KEY (id)
);
CREATE INDEX ix_notices_run ON notices (run_id);
CREATE TABLE prompts (
	id INTEGER NOT NULL,
	text TEXT NOT NULL,
	PRIMARY KEY (id)
);
CREATE TABLE results (
	run_id VARCHAR(128) NOT NULL,
	attempt INTEGER NOT NULL,
	status VARCHAR(16) NOT NULL,
	total_time_seconds DOUBLE,
	metrics JSON NOT NULL,
	result JSON NOT NULL,
	created_at DOUBLE NOT NULL,
	PRIMARY KEY (run_id, attempt)
);
CREATE TABLE rollout_error_records (
	rollout INTEGER NOT NULL,
	number INTEGER NOT NULL,
	source VARCHAR(16) NOT NULL,
	error_class TEXT NOT NULL,
	message TEXT NOT NULL,
	traceback TEXT NOT NULL,
	retried BOOLEAN NOT NULL,
	PRIMARY KEY (rollout, number)
);
CREATE TABLE rollout_groups (
	run INTEGER NOT NULL,
	step INTEGER NOT NULL,
	group_id TEXT NOT NULL,
	attempt INTEGER NOT NULL,
	phase VARCHAR(8) NOT NULL,
	training BOOLEAN NOT NULL,
	sample_id TEXT NOT NULL,
	n INTEGER NOT NULL,
	scored INTEGER NOT NULL,
	reward_sum DOUBLE NOT NULL,
	reward_squares DOUBLE NOT NULL,
	reward_mean DOUBLE,
	reward_min DOUBLE,
	reward_max DOUBLE,
	truncated INTEGER NOT NULL,
	tokens INTEGER NOT NULL,
	superseded BOOLEAN DEFAULT 0 NOT NULL,
	PRIMARY KEY (run, step, group_id, attempt, phase, training)
)
 WITHOUT ROWID;
CREATE INDEX ix_rollout_groups_run_mean ON rollout_groups (run, reward_mean);
CREATE TABLE rollout_records (
	id INTEGER NOT NULL,
	run INTEGER NOT NULL,
	attempt INTEGER NOT NULL,
	phase VARCHAR(8) NOT NULL,
	training BOOLEAN NOT NULL,
	step INTEGER NOT NULL,
	sample_id TEXT NOT NULL,
	group_id TEXT NOT NULL,
	prompt INTEGER NOT NULL,
	completion TEXT NOT NULL,
	reward DOUBLE,
	components JSON NOT NULL,
	advantage DOUBLE,
	finish_reason VARCHAR(32) NOT NULL,
	trained BOOLEAN NOT NULL,
	dropped TEXT,
	tokens INTEGER NOT NULL,
	info JSON NOT NULL,
	created_at DOUBLE NOT NULL,
	superseded BOOLEAN DEFAULT 0 NOT NULL,
	tool_calls INTEGER,
	tool_calls_refused INTEGER,
	PRIMARY KEY (id)
);
CREATE INDEX ix_rollout_records_run_step ON rollout_records (run, step);
CREATE TABLE run_controls (
	id INTEGER NOT NULL,
	run_id VARCHAR(128) NOT NULL,
	attempt INTEGER,
	verb VARCHAR(16),
	stop_requested BOOLEAN DEFAULT 0 NOT NULL,
	argument INTEGER,
	"key" VARCHAR(64),
	status VARCHAR(16) DEFAULT 'pending' NOT NULL,
	reason TEXT,
	requested_by TEXT,
	requested_at DOUBLE,
	accepted_at DOUBLE,
	applied_at DOUBLE,
	applied_step INTEGER,
	PRIMARY KEY (id),
	CONSTRAINT uq_run_controls_key UNIQUE (run_id, "key")
);
CREATE INDEX ix_run_controls_run ON run_controls (run_id);
CREATE TABLE runs (
	id INTEGER NOT NULL,
	run_id VARCHAR(128) NOT NULL,
	attempt INTEGER NOT NULL,
	job_type VARCHAR(16) NOT NULL,
	task TEXT NOT NULL,
	status VARCHAR(16) NOT NULL,
	config JSON NOT NULL,
	output_dir TEXT NOT NULL,
	total_steps INTEGER,
	created_at DOUBLE NOT NULL,
	started_at DOUBLE NOT NULL,
	finished_at DOUBLE,
	PRIMARY KEY (id),
	UNIQUE (run_id)
);
CREATE INDEX ix_runs_started ON runs (started_at);
CREATE TABLE spools (
	id INTEGER NOT NULL,
	uid VARCHAR(32) NOT NULL,
	run_id VARCHAR(128) NOT NULL,
	attempt INTEGER NOT NULL,
	rank INTEGER NOT NULL,
	segment INTEGER NOT NULL,
	position INTEGER NOT NULL,
	events INTEGER NOT NULL,
	updated_at DOUBLE NOT NULL,
	PRIMARY KEY (id),
	UNIQUE (uid)
);
CREATE TABLE tool_call_records (
	rollout INTEGER NOT NULL,
	number INTEGER NOT NULL,
	turn INTEGER NOT NULL,
	tool TEXT NOT NULL,
	outcome VARCHAR(16) NOT NULL,
	cause TEXT NOT NULL,
	seconds DOUBLE,
	PRIMARY KEY (rollout, number)
);
CREATE TABLE verdict_records (
	rollout INTEGER NOT NULL,
	number INTEGER NOT NULL,
	reward TEXT NOT NULL,
	criterion TEXT NOT NULL,
	opponent INTEGER,
	value DOUBLE,
	text TEXT NOT NULL,
	model TEXT NOT NULL,
	prompt_tokens INTEGER NOT NULL,
	completion_tokens INTEGER NOT NULL,
	usd DOUBLE,
	reused BOOLEAN NOT NULL,
	"key" VARCHAR(64) NOT NULL,
	PRIMARY KEY (rollout, number)
);
CREATE VIEW sft_metrics AS SELECT m.id, u.run_id, m.attempt, m.phase, m.step, m.epoch, CASE json_type(m.metrics, '$.loss') WHEN 'real' THEN json_extract(m.metrics, '$.loss') WHEN 'integer' THEN json_extract(m.metrics, '$.loss') END AS loss, CASE json_type(m.metrics, '$.eval_loss') WHEN 'real' THEN json_extract(m.metrics, '$.eval_loss') WHEN 'integer' THEN json_extract(m.metrics, '$.eval_loss') END AS eval_loss, CASE json_type(m.metrics, '$.learning_rate') WHEN 'real' THEN json_extract(m.metrics, '$.learning_rate') WHEN 'integer' THEN json_extract(m.metrics, '$.learning_rate') END AS learning_rate, m.metrics, m.created_at FROM metric_records m JOIN runs u ON u.id = m.run WHERE m.phase = 'sft' AND NOT m.superseded;
CREATE VIEW step_metrics AS SELECT m.id, u.run_id, m.attempt, m.phase, m.step, m.epoch, CASE json_type(m.metrics, '$.loss') WHEN 'real' THEN json_extract(m.metrics, '$.loss') WHEN 'integer' THEN json_extract(m.metrics, '$.loss') END AS loss, CASE json_type(m.metrics, '$.reward') WHEN 'real' THEN json_extract(m.metrics, '$.reward') WHEN 'integer' THEN json_extract(m.metrics, '$.reward') END AS reward, CASE json_type(m.metrics, '$.kl') WHEN 'real' THEN json_extract(m.metrics, '$.kl') WHEN 'integer' THEN json_extract(m.metrics, '$.kl') END AS kl, CASE json_type(m.metrics, '$.learning_rate') WHEN 'real' THEN json_extract(m.metrics, '$.learning_rate') WHEN 'integer' THEN json_extract(m.metrics, '$.learning_rate') END AS learning_rate, m.metrics, m.created_at FROM metric_records m JOIN runs u ON u.id = m.run WHERE m.phase <> 'sft' AND NOT m.superseded;
CREATE VIEW metrics AS SELECT u.run_id, m.attempt, m.phase, m.step, m.epoch, j.key AS name, CASE WHEN j.type IN ('real', 'integer') THEN j.value END AS value, m.created_at FROM metric_records m JOIN runs u ON u.id = m.run, json_each(m.metrics) j WHERE NOT m.superseded;
CREATE VIEW epoch_metrics AS SELECT e.id, u.run_id, e.attempt, e.phase, e.epoch, e.step, e.loss, e.kl, e.created_at FROM epoch_records e JOIN runs u ON u.id = e.run WHERE NOT e.superseded;
CREATE VIEW rollouts AS SELECT r.id, u.run_id, r.attempt, r.phase, r.step, r.sample_id, r.group_id, p.text AS prompt, CASE typeof(r.completion) WHEN 'blob' THEN '(compressed: `tenyson sql` and `tenyson rollouts` read it)' ELSE r.completion END AS completion, r.created_at, r.training, r.trained, r.dropped, r.reward, r.components, r.advantage, r.finish_reason, (r.finish_reason = 'length') AS truncated, r.tokens, r.info, r.tool_calls, r.tool_calls_refused FROM rollout_records r JOIN runs u ON u.id = r.run JOIN prompts p ON p.id = r.prompt WHERE NOT r.superseded;
CREATE VIEW generations AS SELECT r.id, u.run_id, r.attempt, r.phase, r.step, r.sample_id, r.group_id, p.text AS prompt, CASE typeof(r.completion) WHEN 'blob' THEN '(compressed: `tenyson sql` and `tenyson rollouts` read it)' ELSE r.completion END AS completion, r.created_at FROM rollout_records r JOIN runs u ON u.id = r.run JOIN prompts p ON p.id = r.prompt WHERE NOT r.superseded;
CREATE VIEW groups AS SELECT
    u.run_id, g.attempt, g.phase, g.training, g.step, g.group_id, g.sample_id, g.n, g.reward_mean,
    CASE WHEN g.scored > 1 AND g.reward_squares * g.scored > g.reward_sum * g.reward_sum
         THEN sqrt((g.reward_squares - g.reward_sum * g.reward_sum / g.scored) / (g.scored - 1))
         WHEN g.scored > 1 THEN 0.0 END AS reward_std,
    g.reward_min, g.reward_max, g.truncated, g.tokens * 1.0 / g.n AS tokens_mean FROM rollout_groups g JOIN runs u ON u.id = g.run WHERE NOT g.superseded;
CREATE VIEW rollout_errors AS SELECT e.rollout, e.number, u.run_id, r.attempt, r.phase, r.training, r.step, r.sample_id, r.group_id, e.source, e.error_class, e.message, e.traceback, e.retried, r.created_at FROM rollout_error_records e JOIN rollout_records r ON r.id = e.rollout JOIN runs u ON u.id = r.run WHERE NOT r.superseded;
CREATE VIEW verdicts AS SELECT v.rollout, v.number, u.run_id, r.attempt, r.phase, r.training, r.step, r.sample_id, r.group_id, v.reward, v.criterion, v.opponent, v.value, v.text, v.model, v.prompt_tokens, v.completion_tokens, v.usd, v.reused, v.key, r.created_at FROM verdict_records v JOIN rollout_records r ON r.id = v.rollout JOIN runs u ON u.id = r.run WHERE NOT r.superseded;
CREATE VIEW tool_calls AS SELECT c.rollout, c.number, u.run_id, r.attempt, r.phase, r.training, r.step, r.sample_id, r.group_id, c.turn, c.tool, c.outcome, c.cause, c.seconds, r.created_at FROM tool_call_records c JOIN rollout_records r ON r.id = c.rollout JOIN runs u ON u.id = r.run WHERE NOT r.superseded;
