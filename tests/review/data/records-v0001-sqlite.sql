BEGIN TRANSACTION;
CREATE TABLE answer (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	batch_id INTEGER NOT NULL, 
	name VARCHAR(255) NOT NULL, 
	image VARCHAR(64) NOT NULL, 
	label TEXT NOT NULL, 
	probabilities JSON NOT NULL, 
	confidence DOUBLE NOT NULL, 
	novelty DOUBLE NOT NULL, 
	decision VARCHAR(16) NOT NULL, 
	reason TEXT NOT NULL, 
	at DATETIME NOT NULL, 
	CONSTRAINT ck_answer_decision CHECK (decision IN ('accepted', 'review')), 
	CONSTRAINT fk_answer_batch_id_batch FOREIGN KEY(batch_id) REFERENCES batch (id)
);
INSERT INTO "answer" VALUES(1,1,'a.png','ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb','RBC','[0.5, 0.25, 0.25]',0.5,1.0,'review','low confidence','2026-03-01 12:00:03.000000');
INSERT INTO "answer" VALUES(2,1,'b.png','3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d','RBC','[0.55, 0.22499999999999998, 0.22499999999999998]',0.55,1.0,'review','low confidence','2026-03-01 12:00:03.000000');
INSERT INTO "answer" VALUES(3,1,'c.png','2e7d2c03a9507ae265ecf5b5356885a53393a2029d241394997265a1a25aefc6','RBC','[0.6, 0.2, 0.2]',0.6,1.0,'review','low confidence','2026-03-01 12:00:03.000000');
INSERT INTO "answer" VALUES(4,1,'d.png','18ac3e7343f016890c510e93f935261169d9e3f565436429830faf0934f4f8e4','RBC','[0.7, 0.15000000000000002, 0.15000000000000002]',0.7,1.0,'review','low confidence','2026-03-01 12:00:03.000000');
INSERT INTO "answer" VALUES(5,1,'sure.png','c0cafcf0e2d6a236aca78b03f4c33b25ca970788fd6adde4ccc7db6acecb3ee1','WBC','[0.0050000000000000044, 0.99, 0.0050000000000000044]',0.99,1.0,'accepted','','2026-03-01 12:00:03.000000');
INSERT INTO "answer" VALUES(6,2,'e.png','3f79bb7b435b05321651daefd374cdc681dc06faa65e374e38337b88ca046dea','RBC','[0.65, 0.175, 0.175]',0.65,1.0,'review','low confidence','2026-03-01 12:00:05.000000');
INSERT INTO "answer" VALUES(7,2,'c.png','2e7d2c03a9507ae265ecf5b5356885a53393a2029d241394997265a1a25aefc6','RBC','[0.6, 0.2, 0.2]',0.6,1.0,'review','low confidence','2026-03-01 12:00:05.000000');
CREATE TABLE batch (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	at DATETIME NOT NULL, 
	model_sha256 VARCHAR(64) NOT NULL, 
	CONSTRAINT fk_batch_model_sha256_model FOREIGN KEY(model_sha256) REFERENCES model (sha256)
);
INSERT INTO "batch" VALUES(1,'2026-03-01 12:00:02.000000','8b5b9db0c13db24256c829aa364aa90c6d2eba318b9232a4ab9313b954d3555f');
INSERT INTO "batch" VALUES(2,'2026-03-01 12:00:04.000000','d5c7bfa21d8f0d3c1c65307847b6abe5a9baee320010cb22c2266f666da4d076');
CREATE TABLE decision (
	answer_id INTEGER NOT NULL, 
	number INTEGER NOT NULL, 
	kind VARCHAR(16) NOT NULL, 
	reviewer VARCHAR(100) NOT NULL, 
	at DATETIME NOT NULL, 
	"before" TEXT, 
	"after" TEXT, 
	stands INTEGER, 
	CONSTRAINT pk_decision PRIMARY KEY (answer_id, number), 
	CONSTRAINT ck_decision_kind CHECK (kind IN ('class', 'unusable', 'undo')), 
	CONSTRAINT fk_decision_answer_id_answer FOREIGN KEY(answer_id) REFERENCES answer (id)
);
INSERT INTO "decision" VALUES(1,1,'class','Ana','2026-03-01 12:00:09.000000','RBC','WBC',1);
INSERT INTO "decision" VALUES(2,1,'unusable','Ana','2026-03-01 12:00:10.000000','RBC',NULL,1);
INSERT INTO "decision" VALUES(3,1,'class','Ana','2026-03-01 12:00:11.000000','RBC','RBC',1);
INSERT INTO "decision" VALUES(3,2,'undo','Ana','2026-03-01 12:00:12.000000','RBC','RBC',NULL);
CREATE TABLE deleted_image (
	deletion_id INTEGER NOT NULL, 
	sha256 VARCHAR(64) NOT NULL, 
	CONSTRAINT pk_deleted_image PRIMARY KEY (deletion_id, sha256), 
	CONSTRAINT fk_deleted_image_deletion_id_deletion FOREIGN KEY(deletion_id) REFERENCES deletion (id)
);
INSERT INTO "deleted_image" VALUES(1,'be63b05e76415e6124f0f4a4ceb7d672c909fe83c3f5ca38103a29dc2805d6c8');
INSERT INTO "deleted_image" VALUES(1,'f7bdd6c0a6d880b602d77878ded118ae90906a6af57a9fc750df155cb19f52f1');
INSERT INTO "deleted_image" VALUES(2,'252f10c83610ebca1a059c0bae8255eba2f95be4d1d7bcfa89d7248a82d9f111');
CREATE TABLE deletion (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	at DATETIME NOT NULL, 
	"by" VARCHAR(100) NOT NULL, 
	what TEXT NOT NULL, 
	images INTEGER NOT NULL, 
	answers INTEGER NOT NULL
);
INSERT INTO "deletion" VALUES(1,'2026-03-01 12:00:13.000000','Ben','batch 3',2,2);
INSERT INTO "deletion" VALUES(2,'2026-03-01 12:00:14.000000','Ana','an image',1,1);
CREATE TABLE hematovision_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT hematovision_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "hematovision_version" VALUES('0001');
CREATE TABLE model (
	sha256 VARCHAR(64) NOT NULL, 
	name VARCHAR(255) NOT NULL, 
	classes JSON NOT NULL, 
	max_novelty DOUBLE NOT NULL, 
	CONSTRAINT pk_model PRIMARY KEY (sha256)
);
INSERT INTO "model" VALUES('8b5b9db0c13db24256c829aa364aa90c6d2eba318b9232a4ab9313b954d3555f','three','["RBC", "WBC", "Platelets"]',1.0);
INSERT INTO "model" VALUES('d5c7bfa21d8f0d3c1c65307847b6abe5a9baee320010cb22c2266f666da4d076','retrained','["RBC", "WBC", "Platelets"]',1.0);
CREATE TABLE picture (
	answer_id INTEGER NOT NULL, 
	png BLOB NOT NULL, 
	CONSTRAINT pk_picture PRIMARY KEY (answer_id), 
	CONSTRAINT fk_picture_answer_id_answer FOREIGN KEY(answer_id) REFERENCES answer (id)
);
INSERT INTO "picture" VALUES(1,X'89504E470D0A1A0A61');
INSERT INTO "picture" VALUES(2,X'89504E470D0A1A0A62');
INSERT INTO "picture" VALUES(3,X'89504E470D0A1A0A63');
INSERT INTO "picture" VALUES(4,X'89504E470D0A1A0A64');
INSERT INTO "picture" VALUES(5,X'89504E470D0A1A0A73757265');
INSERT INTO "picture" VALUES(6,X'89504E470D0A1A0A65');
INSERT INTO "picture" VALUES(7,X'89504E470D0A1A0A63');
CREATE TABLE setting (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	"key" VARCHAR(100) NOT NULL, 
	value TEXT NOT NULL, 
	at DATETIME NOT NULL, 
	"by" VARCHAR(100) NOT NULL
);
INSERT INTO "setting" VALUES(1,'keeping','{"images": "all", "days": null}','2026-03-01 12:00:01.000000','Ana');
INSERT INTO "setting" VALUES(2,'model in use','three','2026-03-01 12:00:16.000000','Ana');
CREATE TABLE waiting (
	answer_id INTEGER NOT NULL, 
	model_sha256 VARCHAR(64) NOT NULL, 
	certainty DOUBLE NOT NULL, 
	claimed_by VARCHAR(100), 
	claimed_until DATETIME, 
	CONSTRAINT pk_waiting PRIMARY KEY (answer_id), 
	CONSTRAINT fk_waiting_answer_id_picture FOREIGN KEY(answer_id) REFERENCES picture (answer_id), 
	CONSTRAINT fk_waiting_model_sha256_model FOREIGN KEY(model_sha256) REFERENCES model (sha256)
);
INSERT INTO "waiting" VALUES(3,'8b5b9db0c13db24256c829aa364aa90c6d2eba318b9232a4ab9313b954d3555f',0.6,'Ana','2026-03-01 12:10:12.000000');
INSERT INTO "waiting" VALUES(4,'8b5b9db0c13db24256c829aa364aa90c6d2eba318b9232a4ab9313b954d3555f',0.7,'Ben','2026-03-01 12:10:15.000000');
INSERT INTO "waiting" VALUES(5,'8b5b9db0c13db24256c829aa364aa90c6d2eba318b9232a4ab9313b954d3555f',0.99,NULL,NULL);
INSERT INTO "waiting" VALUES(6,'d5c7bfa21d8f0d3c1c65307847b6abe5a9baee320010cb22c2266f666da4d076',0.65,NULL,NULL);
CREATE INDEX ix_batch_model_sha256 ON batch (model_sha256);
CREATE INDEX ix_answer_image ON answer (image);
CREATE INDEX ix_answer_batch_id ON answer (batch_id);
CREATE INDEX ix_answer_at ON answer (at);
CREATE INDEX ix_waiting_claimed_by ON waiting (claimed_by);
CREATE INDEX ix_waiting_model_sha256_certainty_answer_id ON waiting (model_sha256, certainty, answer_id);
CREATE INDEX ix_decision_reviewer_at ON decision (reviewer, at);
CREATE INDEX ix_setting_key_id ON setting ("key", id);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('setting',2);
INSERT INTO "sqlite_sequence" VALUES('batch',3);
INSERT INTO "sqlite_sequence" VALUES('answer',10);
INSERT INTO "sqlite_sequence" VALUES('deletion',2);
COMMIT;
