BEGIN TRANSACTION;
CREATE TABLE epoch_metrics (
	id INTEGER NOT NULL, 
	run_id VARCHAR(128) NOT NULL, 
	attempt INTEGER NOT NULL, 
	phase VARCHAR(8) NOT NULL, 
	epoch INTEGER NOT NULL, 
	step INTEGER NOT NULL, 
	loss DOUBLE, 
	kl DOUBLE, 
	created_at DOUBLE NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "epoch_metrics" VALUES(1,'rl-1',1,'rl',1,2,0.1,0.01,1790000002.0);
CREATE TABLE generations (
	id INTEGER NOT NULL, 
	run_id VARCHAR(128) NOT NULL, 
	attempt INTEGER NOT NULL, 
	phase VARCHAR(8) NOT NULL, 
	step INTEGER NOT NULL, 
	sample_id TEXT NOT NULL, 
	group_id TEXT NOT NULL, 
	prompt TEXT NOT NULL, 
	completion TEXT NOT NULL, 
	created_at DOUBLE NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "generations" VALUES(1,'rl-1',1,'rl',0,'s0','0/s0','prompt 0','answer 0 to 0 🎲',1790000000.0);
INSERT INTO "generations" VALUES(2,'rl-1',1,'rl',0,'s0','0/s0','prompt 0','answer 1 to 0 🎲',1790000000.0);
INSERT INTO "generations" VALUES(3,'rl-1',1,'rl',0,'s0','0/s0','prompt 0','answer 2 to 0 🎲',1790000000.0);
INSERT INTO "generations" VALUES(4,'rl-1',1,'rl',0,'s0','0/s0','prompt 0','answer 3 to 0 🎲',1790000000.0);
INSERT INTO "generations" VALUES(5,'rl-1',1,'rl',0,'s1','0/s1','prompt 1','answer 0 to 1 🎲',1790000000.0);
INSERT INTO "generations" VALUES(6,'rl-1',1,'rl',0,'s1','0/s1','prompt 1','answer 1 to 1 🎲',1790000000.0);
INSERT INTO "generations" VALUES(7,'rl-1',1,'rl',0,'s1','0/s1','prompt 1','answer 2 to 1 🎲',1790000000.0);
INSERT INTO "generations" VALUES(8,'rl-1',1,'rl',0,'s1','0/s1','prompt 1','answer 3 to 1 🎲',1790000000.0);
INSERT INTO "generations" VALUES(9,'rl-1',1,'rl',1,'s0','1/s0','prompt 0','answer 0 to 0 🎲',1790000001.0);
INSERT INTO "generations" VALUES(10,'rl-1',1,'rl',1,'s0','1/s0','prompt 0','answer 1 to 0 🎲',1790000001.0);
INSERT INTO "generations" VALUES(11,'rl-1',1,'rl',1,'s0','1/s0','prompt 0','answer 2 to 0 🎲',1790000001.0);
INSERT INTO "generations" VALUES(12,'rl-1',1,'rl',1,'s0','1/s0','prompt 0','answer 3 to 0 🎲',1790000001.0);
INSERT INTO "generations" VALUES(13,'rl-1',1,'rl',1,'s1','1/s1','prompt 1','answer 0 to 1 🎲',1790000001.0);
INSERT INTO "generations" VALUES(14,'rl-1',1,'rl',1,'s1','1/s1','prompt 1','answer 1 to 1 🎲',1790000001.0);
INSERT INTO "generations" VALUES(15,'rl-1',1,'rl',1,'s1','1/s1','prompt 1','answer 2 to 1 🎲',1790000001.0);
INSERT INTO "generations" VALUES(16,'rl-1',1,'rl',1,'s1','1/s1','prompt 1','answer 3 to 1 🎲',1790000001.0);
INSERT INTO "generations" VALUES(17,'rl-1',1,'rl',2,'s9','2/s9','prompt 9','answer 0 to 9 🎲',1790000002.0);
INSERT INTO "generations" VALUES(18,'rl-1',1,'rl',2,'s9','2/s9','prompt 9','answer 1 to 9 🎲',1790000002.0);
INSERT INTO "generations" VALUES(19,'eval-1',1,'eval',0,'s0','s0','prompt 0','answer 0 to 0 🎲',1790000000.0);
INSERT INTO "generations" VALUES(20,'eval-1',1,'eval',0,'s1','s1','prompt 1','answer 0 to 1 🎲',1790000000.0);
INSERT INTO "generations" VALUES(21,'eval-1',1,'eval',0,'s2','s2','prompt 2','answer 0 to 2 🎲',1790000000.0);
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
INSERT INTO "results" VALUES('sft-1',2,'success',60.0,'{"loss":0.5}','{"run_id":"sft-1","status":"success","total_time_seconds":60.0,"metrics":{"loss":0.5}}',1790000060.0);
INSERT INTO "results" VALUES('rl-1',1,'success',60.0,'{"loss":0.5}','{"run_id":"rl-1","status":"success","total_time_seconds":60.0,"metrics":{"loss":0.5}}',1790000060.0);
INSERT INTO "results" VALUES('eval-1',1,'stopped',60.0,'{"loss":0.5}','{"run_id":"eval-1","status":"stopped","total_time_seconds":60.0,"metrics":{"loss":0.5}}',1790000060.0);
CREATE TABLE rollouts (
	id INTEGER NOT NULL, 
	run_id VARCHAR(128) NOT NULL, 
	attempt INTEGER NOT NULL, 
	phase VARCHAR(8) NOT NULL, 
	step INTEGER NOT NULL, 
	sample_id TEXT NOT NULL, 
	group_id TEXT NOT NULL, 
	prompt TEXT NOT NULL, 
	completion TEXT NOT NULL, 
	created_at DOUBLE NOT NULL, 
	training BOOLEAN NOT NULL, 
	reward DOUBLE, 
	components JSON NOT NULL, 
	advantage DOUBLE, 
	finish_reason VARCHAR(32) NOT NULL, 
	truncated BOOLEAN NOT NULL, 
	tokens INTEGER NOT NULL, 
	info JSON NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "rollouts" VALUES(1,'rl-1',1,'rl',0,'s0','0/s0','prompt 0','answer 0 to 0 🎲',1790000000.0,1,0.0,'{"right":0.0,"none":null}',-1.0,'stop',0,5,'{"turns":0}');
INSERT INTO "rollouts" VALUES(2,'rl-1',1,'rl',0,'s0','0/s0','prompt 0','answer 1 to 0 🎲',1790000000.0,1,1.0,'{"right":1.0,"none":null}',1.0,'stop',0,6,'{"turns":1}');
INSERT INTO "rollouts" VALUES(3,'rl-1',1,'rl',0,'s0','0/s0','prompt 0','answer 2 to 0 🎲',1790000000.0,1,0.0,'{"right":0.0,"none":null}',-1.0,'stop',0,7,'{"turns":2}');
INSERT INTO "rollouts" VALUES(4,'rl-1',1,'rl',0,'s0','0/s0','prompt 0','answer 3 to 0 🎲',1790000000.0,1,1.0,'{"right":1.0,"none":null}',1.0,'length',1,8,'{"turns":3}');
INSERT INTO "rollouts" VALUES(5,'rl-1',1,'rl',0,'s1','0/s1','prompt 1','answer 0 to 1 🎲',1790000000.0,1,0.0,'{"right":0.0,"none":null}',-1.0,'stop',0,5,'{"turns":0}');
INSERT INTO "rollouts" VALUES(6,'rl-1',1,'rl',0,'s1','0/s1','prompt 1','answer 1 to 1 🎲',1790000000.0,1,1.0,'{"right":1.0,"none":null}',1.0,'stop',0,6,'{"turns":1}');
INSERT INTO "rollouts" VALUES(7,'rl-1',1,'rl',0,'s1','0/s1','prompt 1','answer 2 to 1 🎲',1790000000.0,1,0.0,'{"right":0.0,"none":null}',-1.0,'stop',0,7,'{"turns":2}');
INSERT INTO "rollouts" VALUES(8,'rl-1',1,'rl',0,'s1','0/s1','prompt 1','answer 3 to 1 🎲',1790000000.0,1,1.0,'{"right":1.0,"none":null}',1.0,'length',1,8,'{"turns":3}');
INSERT INTO "rollouts" VALUES(9,'rl-1',1,'rl',1,'s0','1/s0','prompt 0','answer 0 to 0 🎲',1790000001.0,1,0.0,'{"right":0.0,"none":null}',-1.0,'stop',0,5,'{"turns":0}');
INSERT INTO "rollouts" VALUES(10,'rl-1',1,'rl',1,'s0','1/s0','prompt 0','answer 1 to 0 🎲',1790000001.0,1,1.0,'{"right":1.0,"none":null}',1.0,'stop',0,6,'{"turns":1}');
INSERT INTO "rollouts" VALUES(11,'rl-1',1,'rl',1,'s0','1/s0','prompt 0','answer 2 to 0 🎲',1790000001.0,1,0.0,'{"right":0.0,"none":null}',-1.0,'stop',0,7,'{"turns":2}');
INSERT INTO "rollouts" VALUES(12,'rl-1',1,'rl',1,'s0','1/s0','prompt 0','answer 3 to 0 🎲',1790000001.0,1,1.0,'{"right":1.0,"none":null}',1.0,'length',1,8,'{"turns":3}');
INSERT INTO "rollouts" VALUES(13,'rl-1',1,'rl',1,'s1','1/s1','prompt 1','answer 0 to 1 🎲',1790000001.0,1,0.0,'{"right":0.0,"none":null}',-1.0,'stop',0,5,'{"turns":0}');
INSERT INTO "rollouts" VALUES(14,'rl-1',1,'rl',1,'s1','1/s1','prompt 1','answer 1 to 1 🎲',1790000001.0,1,1.0,'{"right":1.0,"none":null}',1.0,'stop',0,6,'{"turns":1}');
INSERT INTO "rollouts" VALUES(15,'rl-1',1,'rl',1,'s1','1/s1','prompt 1','answer 2 to 1 🎲',1790000001.0,1,0.0,'{"right":0.0,"none":null}',-1.0,'stop',0,7,'{"turns":2}');
INSERT INTO "rollouts" VALUES(16,'rl-1',1,'rl',1,'s1','1/s1','prompt 1','answer 3 to 1 🎲',1790000001.0,1,1.0,'{"right":1.0,"none":null}',1.0,'length',1,8,'{"turns":3}');
INSERT INTO "rollouts" VALUES(17,'rl-1',1,'rl',2,'s9','2/s9','prompt 9','answer 0 to 9 🎲',1790000002.0,0,0.0,'{"right":0.0,"none":null}',NULL,'stop',0,5,'{"turns":0}');
INSERT INTO "rollouts" VALUES(18,'rl-1',1,'rl',2,'s9','2/s9','prompt 9','answer 1 to 9 🎲',1790000002.0,0,1.0,'{"right":1.0,"none":null}',NULL,'stop',0,6,'{"turns":1}');
INSERT INTO "rollouts" VALUES(19,'eval-1',1,'eval',0,'s0','s0','prompt 0','answer 0 to 0 🎲',1790000000.0,0,0.0,'{"right":0.0,"none":null}',NULL,'stop',0,5,'{"turns":0}');
INSERT INTO "rollouts" VALUES(20,'eval-1',1,'eval',0,'s1','s1','prompt 1','answer 0 to 1 🎲',1790000000.0,0,0.0,'{"right":0.0,"none":null}',NULL,'stop',0,5,'{"turns":0}');
INSERT INTO "rollouts" VALUES(21,'eval-1',1,'eval',0,'s2','s2','prompt 2','answer 0 to 2 🎲',1790000000.0,0,0.0,'{"right":0.0,"none":null}',NULL,'stop',0,5,'{"turns":0}');
CREATE TABLE run_controls (
	id INTEGER NOT NULL, 
	run_id VARCHAR(128) NOT NULL, 
	stop_requested BOOLEAN DEFAULT 0 NOT NULL, 
	status VARCHAR(16) DEFAULT 'pending' NOT NULL, 
	requested_by TEXT, 
	requested_at DOUBLE, 
	accepted_at DOUBLE, 
	PRIMARY KEY (id)
);
INSERT INTO "run_controls" VALUES(1,'rl-1',1,'pending','me@here',1790000000.0,NULL);
CREATE TABLE runs (
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
	PRIMARY KEY (run_id)
);
INSERT INTO "runs" VALUES('sft-1',2,'sft','echo','success','{"model":{"name":"tiny"},"run":{"id":"sft-1"}}','outputs/sft-1',4,1790000000.0,1790000000.0,1790000060.0);
INSERT INTO "runs" VALUES('rl-1',1,'rl','echo','success','{"model":{"name":"tiny"},"run":{"id":"rl-1"}}','outputs/rl-1',4,1790000000.0,1790000000.0,1790000060.0);
INSERT INTO "runs" VALUES('eval-1',1,'eval','echo','stopped','{"model":{"name":"tiny"},"run":{"id":"eval-1"}}','outputs/eval-1',4,1790000000.0,1790000000.0,1790000060.0);
CREATE TABLE sft_metrics (
	id INTEGER NOT NULL, 
	run_id VARCHAR(128) NOT NULL, 
	attempt INTEGER NOT NULL, 
	step INTEGER NOT NULL, 
	epoch DOUBLE, 
	loss DOUBLE, 
	eval_loss DOUBLE, 
	learning_rate DOUBLE, 
	metrics JSON NOT NULL, 
	created_at DOUBLE NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "sft_metrics" VALUES(1,'sft-1',1,1,0.25,2.5,NULL,0.001,'{"loss":2.5,"learning_rate":0.001}',1790000001.0);
INSERT INTO "sft_metrics" VALUES(2,'sft-1',1,2,0.5,2.0,NULL,0.001,'{"loss":2.0,"learning_rate":0.001}',1790000002.0);
INSERT INTO "sft_metrics" VALUES(3,'sft-1',1,3,0.75,1.5,NULL,0.001,'{"loss":1.5,"learning_rate":0.001}',1790000003.0);
INSERT INTO "sft_metrics" VALUES(4,'sft-1',2,3,0.75,1.4,NULL,0.001,'{"loss":1.4,"learning_rate":0.001}',1790000003.0);
INSERT INTO "sft_metrics" VALUES(5,'sft-1',2,4,1.0,8.99999999999999911182e-01,NULL,0.001,'{"loss":0.8999999999999999,"learning_rate":0.001}',1790000004.0);
CREATE TABLE step_metrics (
	id INTEGER NOT NULL, 
	run_id VARCHAR(128) NOT NULL, 
	attempt INTEGER NOT NULL, 
	phase VARCHAR(8) NOT NULL, 
	step INTEGER NOT NULL, 
	epoch DOUBLE, 
	loss DOUBLE, 
	reward DOUBLE, 
	kl DOUBLE, 
	learning_rate DOUBLE, 
	metrics JSON NOT NULL, 
	created_at DOUBLE NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "step_metrics" VALUES(1,'rl-1',1,'rl',1,0.25,0.1,0.5,0.01,0.0001,'{"loss":0.1,"reward":0.5,"kl":0.01,"learning_rate":0.0001,"rewards/right/mean":0.5,"bad":"NaN"}',1790000001.0);
INSERT INTO "step_metrics" VALUES(2,'rl-1',1,'rl',2,0.5,0.1,0.5,0.01,0.0001,'{"loss":0.1,"reward":0.5,"kl":0.01,"learning_rate":0.0001,"rewards/right/mean":0.5,"bad":"NaN"}',1790000002.0);
INSERT INTO "step_metrics" VALUES(3,'eval-1',1,'eval',3,0.75,NULL,NULL,NULL,NULL,'{"tokens_per_second":100.0}',1790000003.0);
CREATE INDEX ix_sft_metrics_run_step ON sft_metrics (run_id, step);
CREATE INDEX ix_step_metrics_run_step ON step_metrics (run_id, step);
CREATE INDEX ix_epoch_metrics_run_epoch ON epoch_metrics (run_id, epoch);
CREATE INDEX ix_generations_run_step ON generations (run_id, phase, step);
CREATE INDEX ix_rollouts_run_step ON rollouts (run_id, phase, step);
CREATE INDEX ix_run_controls_run ON run_controls (run_id);
COMMIT;
