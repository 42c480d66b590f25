package database

import (
	"context"
	"strings"
	"time"
)

// Teacher is an account.
type Teacher struct {
	ID           string
	Email        string // in lower case, without spaces around it; one teacher's only
	Name         string
	PasswordHash string // see package password
	CreatedAt    time.Time
}

const teacherColumns = "id, email, name, password_hash, created_at"

func (t *Teacher) fields() []any {
	return []any{&t.ID, &t.Email, &t.Name, &t.PasswordHash, at(&t.CreatedAt)}
}

// CreateTeacher makes an account. An email or id that there is already is [ErrConflict].
func (db *DB) CreateTeacher(ctx context.Context, t Teacher) error {
	_, err := db.exec(ctx, "create the teacher", "INSERT INTO teachers ("+teacherColumns+") VALUES ($1, $2, $3, $4, $5)",
		t.ID, email(t.Email), t.Name, t.PasswordHash, micros(db.orNow(t.CreatedAt)))
	return err
}

// Teacher finds an account.
func (db *DB) Teacher(ctx context.Context, id string) (t Teacher, found bool, err error) {
	found, err = one(ctx, db, "read the teacher", "SELECT "+teacherColumns+" FROM teachers WHERE id = $1", []any{id}, t.fields()...)
	return t, found, err
}

// TeacherByEmail finds the account of an email address, whatever its case.
func (db *DB) TeacherByEmail(ctx context.Context, address string) (t Teacher, found bool, err error) {
	found, err = one(ctx, db, "read the teacher", "SELECT "+teacherColumns+" FROM teachers WHERE email = $1", []any{email(address)}, t.fields()...)
	return t, found, err
}

// ReplacePasswordHash replaces a teacher's hash if it is still the old one, so that a hash made with
// new parameters at a login never undoes a change of password. ok is false where it is another.
func (db *DB) ReplacePasswordHash(ctx context.Context, id, old, hash string) (ok bool, err error) {
	n, err := db.exec(ctx, "replace the teacher's password", "UPDATE teachers SET password_hash = $3 WHERE id = $1 AND password_hash = $2", id, old, hash)
	return n == 1, err
}

// email is how addresses are stored and looked for. The part before the @ may be told apart by case,
// and no mail server does; two accounts by it would only deceive.
func email(address string) string { return strings.ToLower(strings.TrimSpace(address)) }

// orNow is the time that was given, else the time.
func (db *DB) orNow(t time.Time) time.Time {
	if t.IsZero() {
		return db.config.Now()
	}
	return t
}
