package app

import (
	"context"
	"crypto/rand"
	"errors"
	"net/mail"
	"strings"
	"time"

	"github.com/classwaves/rekey/classwaves/database"
	"github.com/classwaves/rekey/classwaves/password"
)

// AddTeacher makes an account in a database. An email that there is already is a
// [database.ErrConflict].
func AddTeacher(ctx context.Context, db *database.DB, passwords *password.Hasher, email, name, secret string) error {
	email = strings.ToLower(strings.TrimSpace(email))
	if a, err := mail.ParseAddress(email); err != nil || a.Address != email {
		return errors.New("classwaves: that is not an email address")
	}
	if len(secret) < 8 {
		return errors.New("classwaves: a password has at least 8 characters")
	}
	hash, err := passwords.Hash(ctx, secret)
	if err != nil {
		return err
	}
	return db.CreateTeacher(ctx, database.Teacher{
		ID: rand.Text(), Email: email, Name: strings.TrimSpace(name), PasswordHash: hash, CreatedAt: time.Now().UTC(),
	})
}
