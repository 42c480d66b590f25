package database_test

import (
	"strings"
	"testing"

	"github.com/classwaves/rekey/classwaves/database/databasetest"
)

// Every question of a request reads an index and sorts nothing.
func TestSQLiteQuestionsReadAnIndex(t *testing.T) {
	db := databasetest.Open(t, databasetest.SQLite(t))
	for question, index := range map[string]string{
		"SELECT id FROM teachers WHERE email = 'x'":                                                                                          "teachers_email",
		"SELECT title FROM class_sessions WHERE teacher_id = 'x' ORDER BY created_at DESC, id DESC LIMIT 50":                                 "class_sessions_teacher",
		"SELECT title FROM class_sessions WHERE teacher_id = 'x' AND (created_at, id) < (1, 'c') ORDER BY created_at DESC, id DESC LIMIT 50": "class_sessions_teacher",
		"SELECT id FROM class_sessions WHERE access_code = 'x'":                                                                              "class_sessions_code",
		"SELECT id FROM class_sessions WHERE state <> 'ended' AND id > 'x' ORDER BY id LIMIT 100":                                            "class_sessions_living",
		"SELECT name FROM participants WHERE session_id = 'x' ORDER BY joined_at, id":                                                        "participants_session",
		"SELECT name FROM class_groups WHERE session_id = 'x' ORDER BY name, id":                                                             "sqlite_autoindex_class_groups_2",
		"SELECT name FROM participants WHERE session_id = 'x' AND group_id = 'y'":                                                            "participants_group",
	} {
		text, err := db.Explain(t.Context(), question)
		must(t, err)
		if !strings.Contains(text, index) || strings.Contains(text, "TEMP B-TREE") {
			t.Errorf("%s\nis answered by\n%s\nwant %s", question, text, index)
		}
	}
}
