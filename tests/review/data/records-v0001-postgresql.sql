CREATE TABLE public.answer (
    id integer NOT NULL,
    batch_id integer NOT NULL,
    name character varying(255) NOT NULL,
    image character varying(64) NOT NULL,
    label text NOT NULL,
    probabilities json NOT NULL,
    confidence double precision NOT NULL,
    novelty double precision NOT NULL,
    decision character varying(16) NOT NULL,
    reason text NOT NULL,
    at timestamp with time zone NOT NULL,
    CONSTRAINT ck_answer_decision CHECK (((decision)::text = ANY ((ARRAY['accepted'::character varying, 'review'::character varying])::text[])))
);
CREATE SEQUENCE public.answer_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.answer_id_seq OWNED BY public.answer.id;
CREATE TABLE public.batch (
    id integer NOT NULL,
    at timestamp with time zone NOT NULL,
    model_sha256 character varying(64) NOT NULL
);
CREATE SEQUENCE public.batch_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.batch_id_seq OWNED BY public.batch.id;
CREATE TABLE public.decision (
    answer_id integer NOT NULL,
    number integer NOT NULL,
    kind character varying(16) NOT NULL,
    reviewer character varying(100) NOT NULL,
    at timestamp with time zone NOT NULL,
    before text,
    after text,
    stands integer,
    CONSTRAINT ck_decision_kind CHECK (((kind)::text = ANY ((ARRAY['class'::character varying, 'unusable'::character varying, 'undo'::character varying])::text[])))
);
CREATE TABLE public.deleted_image (
    deletion_id integer NOT NULL,
    sha256 character varying(64) NOT NULL
);
CREATE TABLE public.deletion (
    id integer NOT NULL,
    at timestamp with time zone NOT NULL,
    by character varying(100) NOT NULL,
    what text NOT NULL,
    images integer NOT NULL,
    answers integer NOT NULL
);
CREATE SEQUENCE public.deletion_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.deletion_id_seq OWNED BY public.deletion.id;
CREATE TABLE public.hematovision_version (
    version_num character varying(32) NOT NULL
);
CREATE TABLE public.model (
    sha256 character varying(64) NOT NULL,
    name character varying(255) NOT NULL,
    classes json NOT NULL,
    max_novelty double precision NOT NULL
);
CREATE TABLE public.picture (
    answer_id integer NOT NULL,
    png bytea NOT NULL
);
CREATE TABLE public.setting (
    id integer NOT NULL,
    key character varying(100) NOT NULL,
    value text NOT NULL,
    at timestamp with time zone NOT NULL,
    by character varying(100) NOT NULL
);
CREATE SEQUENCE public.setting_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.setting_id_seq OWNED BY public.setting.id;
CREATE TABLE public.waiting (
    answer_id integer NOT NULL,
    model_sha256 character varying(64) NOT NULL,
    certainty double precision NOT NULL,
    claimed_by character varying(100),
    claimed_until timestamp with time zone
);
ALTER TABLE ONLY public.answer ALTER COLUMN id SET DEFAULT nextval('public.answer_id_seq'::regclass);
ALTER TABLE ONLY public.batch ALTER COLUMN id SET DEFAULT nextval('public.batch_id_seq'::regclass);
ALTER TABLE ONLY public.deletion ALTER COLUMN id SET DEFAULT nextval('public.deletion_id_seq'::regclass);
ALTER TABLE ONLY public.setting ALTER COLUMN id SET DEFAULT nextval('public.setting_id_seq'::regclass);
INSERT INTO public.answer VALUES (1, 1, 'a.png', 'ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb', 'RBC', '[0.5, 0.25, 0.25]', 0.5, 1, 'review', 'low confidence', '2026-03-01 12:00:03+00');
INSERT INTO public.answer VALUES (2, 1, 'b.png', '3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d', 'RBC', '[0.55, 0.22499999999999998, 0.22499999999999998]', 0.55, 1, 'review', 'low confidence', '2026-03-01 12:00:03+00');
INSERT INTO public.answer VALUES (3, 1, 'c.png', '2e7d2c03a9507ae265ecf5b5356885a53393a2029d241394997265a1a25aefc6', 'RBC', '[0.6, 0.2, 0.2]', 0.6, 1, 'review', 'low confidence', '2026-03-01 12:00:03+00');
INSERT INTO public.answer VALUES (4, 1, 'd.png', '18ac3e7343f016890c510e93f935261169d9e3f565436429830faf0934f4f8e4', 'RBC', '[0.7, 0.15000000000000002, 0.15000000000000002]', 0.7, 1, 'review', 'low confidence', '2026-03-01 12:00:03+00');
INSERT INTO public.answer VALUES (5, 1, 'sure.png', 'c0cafcf0e2d6a236aca78b03f4c33b25ca970788fd6adde4ccc7db6acecb3ee1', 'WBC', '[0.0050000000000000044, 0.99, 0.0050000000000000044]', 0.99, 1, 'accepted', '', '2026-03-01 12:00:03+00');
INSERT INTO public.answer VALUES (6, 2, 'e.png', '3f79bb7b435b05321651daefd374cdc681dc06faa65e374e38337b88ca046dea', 'RBC', '[0.65, 0.175, 0.175]', 0.65, 1, 'review', 'low confidence', '2026-03-01 12:00:05+00');
INSERT INTO public.answer VALUES (7, 2, 'c.png', '2e7d2c03a9507ae265ecf5b5356885a53393a2029d241394997265a1a25aefc6', 'RBC', '[0.6, 0.2, 0.2]', 0.6, 1, 'review', 'low confidence', '2026-03-01 12:00:05+00');
INSERT INTO public.batch VALUES (1, '2026-03-01 12:00:02+00', '8b5b9db0c13db24256c829aa364aa90c6d2eba318b9232a4ab9313b954d3555f');
INSERT INTO public.batch VALUES (2, '2026-03-01 12:00:04+00', 'd5c7bfa21d8f0d3c1c65307847b6abe5a9baee320010cb22c2266f666da4d076');
INSERT INTO public.decision VALUES (1, 1, 'class', 'Ana', '2026-03-01 12:00:09+00', 'RBC', 'WBC', 1);
INSERT INTO public.decision VALUES (2, 1, 'unusable', 'Ana', '2026-03-01 12:00:10+00', 'RBC', NULL, 1);
INSERT INTO public.decision VALUES (3, 1, 'class', 'Ana', '2026-03-01 12:00:11+00', 'RBC', 'RBC', 1);
INSERT INTO public.decision VALUES (3, 2, 'undo', 'Ana', '2026-03-01 12:00:12+00', 'RBC', 'RBC', NULL);
INSERT INTO public.deleted_image VALUES (1, 'be63b05e76415e6124f0f4a4ceb7d672c909fe83c3f5ca38103a29dc2805d6c8');
INSERT INTO public.deleted_image VALUES (1, 'f7bdd6c0a6d880b602d77878ded118ae90906a6af57a9fc750df155cb19f52f1');
INSERT INTO public.deleted_image VALUES (2, '252f10c83610ebca1a059c0bae8255eba2f95be4d1d7bcfa89d7248a82d9f111');
INSERT INTO public.deletion VALUES (1, '2026-03-01 12:00:13+00', 'Ben', 'batch 3', 2, 2);
INSERT INTO public.deletion VALUES (2, '2026-03-01 12:00:14+00', 'Ana', 'an image', 1, 1);
INSERT INTO public.hematovision_version VALUES ('0001');
INSERT INTO public.model VALUES ('8b5b9db0c13db24256c829aa364aa90c6d2eba318b9232a4ab9313b954d3555f', 'three', '["RBC", "WBC", "Platelets"]', 1);
INSERT INTO public.model VALUES ('d5c7bfa21d8f0d3c1c65307847b6abe5a9baee320010cb22c2266f666da4d076', 'retrained', '["RBC", "WBC", "Platelets"]', 1);
INSERT INTO public.picture VALUES (1, '\x89504e470d0a1a0a61');
INSERT INTO public.picture VALUES (2, '\x89504e470d0a1a0a62');
INSERT INTO public.picture VALUES (3, '\x89504e470d0a1a0a63');
INSERT INTO public.picture VALUES (4, '\x89504e470d0a1a0a64');
INSERT INTO public.picture VALUES (5, '\x89504e470d0a1a0a73757265');
INSERT INTO public.picture VALUES (6, '\x89504e470d0a1a0a65');
INSERT INTO public.picture VALUES (7, '\x89504e470d0a1a0a63');
INSERT INTO public.setting VALUES (1, 'keeping', '{"images": "all", "days": null}', '2026-03-01 12:00:01+00', 'Ana');
INSERT INTO public.setting VALUES (2, 'model in use', 'three', '2026-03-01 12:00:16+00', 'Ana');
INSERT INTO public.waiting VALUES (6, 'd5c7bfa21d8f0d3c1c65307847b6abe5a9baee320010cb22c2266f666da4d076', 0.65, NULL, NULL);
INSERT INTO public.waiting VALUES (3, '8b5b9db0c13db24256c829aa364aa90c6d2eba318b9232a4ab9313b954d3555f', 0.6, 'Ana', '2026-03-01 12:10:12+00');
INSERT INTO public.waiting VALUES (4, '8b5b9db0c13db24256c829aa364aa90c6d2eba318b9232a4ab9313b954d3555f', 0.7, 'Ben', '2026-03-01 12:10:15+00');
INSERT INTO public.waiting VALUES (5, '8b5b9db0c13db24256c829aa364aa90c6d2eba318b9232a4ab9313b954d3555f', 0.99, NULL, NULL);
SELECT pg_catalog.setval('public.answer_id_seq', 10, true);
SELECT pg_catalog.setval('public.batch_id_seq', 3, true);
SELECT pg_catalog.setval('public.deletion_id_seq', 2, true);
SELECT pg_catalog.setval('public.setting_id_seq', 2, true);
ALTER TABLE ONLY public.hematovision_version
    ADD CONSTRAINT hematovision_version_pkc PRIMARY KEY (version_num);
ALTER TABLE ONLY public.answer
    ADD CONSTRAINT pk_answer PRIMARY KEY (id);
ALTER TABLE ONLY public.batch
    ADD CONSTRAINT pk_batch PRIMARY KEY (id);
ALTER TABLE ONLY public.decision
    ADD CONSTRAINT pk_decision PRIMARY KEY (answer_id, number);
ALTER TABLE ONLY public.deleted_image
    ADD CONSTRAINT pk_deleted_image PRIMARY KEY (deletion_id, sha256);
ALTER TABLE ONLY public.deletion
    ADD CONSTRAINT pk_deletion PRIMARY KEY (id);
ALTER TABLE ONLY public.model
    ADD CONSTRAINT pk_model PRIMARY KEY (sha256);
ALTER TABLE ONLY public.picture
    ADD CONSTRAINT pk_picture PRIMARY KEY (answer_id);
ALTER TABLE ONLY public.setting
    ADD CONSTRAINT pk_setting PRIMARY KEY (id);
ALTER TABLE ONLY public.waiting
    ADD CONSTRAINT pk_waiting PRIMARY KEY (answer_id);
CREATE INDEX ix_answer_at ON public.answer USING btree (at);
CREATE INDEX ix_answer_batch_id ON public.answer USING btree (batch_id);
CREATE INDEX ix_answer_image ON public.answer USING btree (image);
CREATE INDEX ix_batch_model_sha256 ON public.batch USING btree (model_sha256);
CREATE INDEX ix_decision_reviewer_at ON public.decision USING btree (reviewer, at);
CREATE INDEX ix_setting_key_id ON public.setting USING btree (key, id);
CREATE INDEX ix_waiting_claimed_by ON public.waiting USING btree (claimed_by);
CREATE INDEX ix_waiting_model_sha256_certainty_answer_id ON public.waiting USING btree (model_sha256, certainty, answer_id);
ALTER TABLE ONLY public.answer
    ADD CONSTRAINT fk_answer_batch_id_batch FOREIGN KEY (batch_id) REFERENCES public.batch(id);
ALTER TABLE ONLY public.batch
    ADD CONSTRAINT fk_batch_model_sha256_model FOREIGN KEY (model_sha256) REFERENCES public.model(sha256);
ALTER TABLE ONLY public.decision
    ADD CONSTRAINT fk_decision_answer_id_answer FOREIGN KEY (answer_id) REFERENCES public.answer(id);
ALTER TABLE ONLY public.deleted_image
    ADD CONSTRAINT fk_deleted_image_deletion_id_deletion FOREIGN KEY (deletion_id) REFERENCES public.deletion(id);
ALTER TABLE ONLY public.picture
    ADD CONSTRAINT fk_picture_answer_id_answer FOREIGN KEY (answer_id) REFERENCES public.answer(id);
ALTER TABLE ONLY public.waiting
    ADD CONSTRAINT fk_waiting_answer_id_picture FOREIGN KEY (answer_id) REFERENCES public.picture(answer_id);
ALTER TABLE ONLY public.waiting
    ADD CONSTRAINT fk_waiting_model_sha256_model FOREIGN KEY (model_sha256) REFERENCES public.model(sha256);
