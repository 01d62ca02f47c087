BEGIN TRANSACTION;
CREATE TABLE pipeline_attempts (
	pipeline_id VARCHAR(128) NOT NULL, 
	label VARCHAR(256) NOT NULL, 
	attempt INTEGER NOT NULL, 
	run_id VARCHAR(128) NOT NULL, 
	token VARCHAR(64) NOT NULL, 
	spec JSON NOT NULL, 
	handle JSON, 
	state VARCHAR(16) NOT NULL, 
	result JSON, 
	reason VARCHAR(32), 
	inputs JSON, 
	inputs_hash VARCHAR(64), 
	reused_from VARCHAR(128), 
	started_at DOUBLE NOT NULL, 
	ended_at DOUBLE, 
	PRIMARY KEY (pipeline_id, label, attempt), 
	UNIQUE (token)
);
INSERT INTO "pipeline_attempts" VALUES('p','one',1,'one','token','{"run_id":"one","job_type":"sft","task":"t","config":{},"token":""}',NULL,'FAILED','{"run_id":"one","status":"failed","total_time_seconds":1.0,"metrics":{},"hf_repo_id":null,"hf_revision":null,"wandb_url":null,"local_output_dir":null,"failure_reason":"x","instance_id":null,"spot_interruption":null,"stop_reason":null,"schema_version":1}',NULL,'null',NULL,NULL,1000.0,1000.0);
CREATE TABLE pipeline_decisions (
	id INTEGER NOT NULL, 
	pipeline_id VARCHAR(128) NOT NULL, 
	label VARCHAR(256) NOT NULL, 
	attempt INTEGER NOT NULL, 
	choices JSON NOT NULL, 
	note TEXT DEFAULT '' NOT NULL, 
	answer VARCHAR(16) CHECK (answer IN ('resume', 'restart', 'continue', 'abort')), 
	answered_by TEXT, 
	asked_at DOUBLE NOT NULL, 
	answered_at DOUBLE, 
	PRIMARY KEY (id)
);
INSERT INTO "pipeline_decisions" VALUES(1,'p','one',1,'["restart","abort"]','',NULL,NULL,1000.0,NULL);
CREATE TABLE pipeline_journal (
	version VARCHAR(16) NOT NULL, 
	PRIMARY KEY (version)
);
INSERT INTO "pipeline_journal" VALUES('1');
CREATE TABLE pipeline_outbox (
	id INTEGER NOT NULL, 
	event_id VARCHAR(64) NOT NULL, 
	channel VARCHAR(16) NOT NULL, 
	pipeline_id VARCHAR(128) NOT NULL, 
	payload JSON NOT NULL, 
	created_at DOUBLE NOT NULL, 
	tries INTEGER DEFAULT '0' NOT NULL, 
	next_try_at DOUBLE NOT NULL, 
	error TEXT, 
	sent_at DOUBLE, 
	PRIMARY KEY (id), 
	CONSTRAINT uq_pipeline_outbox UNIQUE (event_id, channel)
);
INSERT INTO "pipeline_outbox" VALUES(1,'p/one/1/failed','webhook','p','{"text":"x"}',1000.0,0,1000.0,NULL,NULL);
CREATE TABLE pipeline_steps (
	pipeline_id VARCHAR(128) NOT NULL, 
	label VARCHAR(256) NOT NULL, 
	position INTEGER NOT NULL, 
	definition JSON NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	attempt INTEGER DEFAULT '0' NOT NULL, 
	resume BOOLEAN DEFAULT 0 NOT NULL, 
	not_before DOUBLE, 
	failures INTEGER DEFAULT '0' NOT NULL, 
	preemptions INTEGER DEFAULT '0' NOT NULL, 
	updated_at DOUBLE NOT NULL, 
	PRIMARY KEY (pipeline_id, label)
);
INSERT INTO "pipeline_steps" VALUES('p','one',0,'{"label":"one","spec":{"run_id":"one","job_type":"sft","task":"t","config":{},"token":""},"needs":[],"model_from":null,"checkpoint_from":null,"late":{}}','WAITING_HUMAN',1,0,NULL,0,0,1000.0);
CREATE TABLE pipelines (
	id VARCHAR(128) NOT NULL, 
	title TEXT NOT NULL, 
	status VARCHAR(16) NOT NULL, 
	fingerprint VARCHAR(64) NOT NULL, 
	"plan" JSON NOT NULL, 
	created_at DOUBLE NOT NULL, 
	finished_at DOUBLE, 
	fence INTEGER DEFAULT '0' NOT NULL, 
	holder JSON, 
	lease_until DOUBLE, 
	PRIMARY KEY (id)
);
INSERT INTO "pipelines" VALUES('p','p','running','f','{"cwd":"/somewhere"}',1000.0,NULL,1,'{"host":"h","pid":1,"mark":"m","space":null}',1030.0);
CREATE INDEX ix_pipelines_fingerprint ON pipelines (fingerprint);
CREATE INDEX ix_pipeline_attempts_run ON pipeline_attempts (run_id);
CREATE INDEX ix_pipeline_attempts_inputs ON pipeline_attempts (inputs_hash);
CREATE UNIQUE INDEX uq_pipeline_decisions_open ON pipeline_decisions (pipeline_id, label) WHERE answer IS NULL;
CREATE INDEX ix_pipeline_decisions_step ON pipeline_decisions (pipeline_id, label);
CREATE TRIGGER pipeline_first_answer BEFORE UPDATE OF answer ON pipeline_decisions WHEN OLD.answer IS NOT NULL BEGIN SELECT RAISE(IGNORE); END;
COMMIT;
